"""Tiled's map files: files of Tiled and v1 are read exactly, and all others are refused by name."""

from __future__ import annotations

import base64
import gzip
import os
import struct
import tracemalloc
import zlib
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nmmo_gpu.content import MATERIALS, Material
from nmmo_gpu.errors import ConfigError, MapError
from nmmo_gpu.world import tiled
from nmmo_gpu.world.markup import parse
from nmmo_gpu.world.tiled import load_tmx, save_tmx

V1_MAPS = Path(__file__).parents[1] / "data" / "v1_maps"
SMALL = [[0, 1, 2, 3], [4, 5, 6, 0], [2, 2, 4, 1]]  # 3 rows, 4 columns
GIDS = [value + 1 for row in SMALL for value in row]


def csv(gids: list[int]) -> str:
    return "\n" + ",\n".join(",".join(map(str, gids[k : k + 4])) for k in range(0, len(gids), 4)) + "\n"


def layer(
    data: str, name: str = "ground", attributes: str = 'encoding="csv"', size: str = 'width="4" height="3"'
) -> str:
    return f'<layer id="1" name="{name}" {size}><data {attributes}>{data}</data></layer>'


def document(layers: str, tilesets: str = '<tileset firstgid="1" name="t"/>', extra: str = "") -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<map version="1.10" orientation="orthogonal" '
        f'width="4" height="3" tilewidth="16" tileheight="16" infinite="0" {extra}>{tilesets}{layers}</map>\n'
    )


def load(tmp_path: Path, text: str | bytes) -> torch.Tensor:
    path = tmp_path / "some.tmx"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_tmx(path)


def packed(gids: list[int]) -> bytes:
    return struct.pack(f"<{len(gids)}I", *gids)


def coded(raw: bytes) -> str:
    return f"\n   {base64.b64encode(raw).decode()}\n  "


# ------------------------------------------------------------------------------------------------- reading


@pytest.mark.parametrize("name", ["map0", "map1", "map2", "map3"])
def test_v1s_maps_are_read_as_gid_minus_one(name: str) -> None:
    text = (V1_MAPS / f"{name}.tmx").read_text()
    gids = [int(v) for v in text[text.index('csv">') + 5 : text.index("</data>")].split(",")]
    material = load_tmx(V1_MAPS / f"{name}.tmx")
    assert material.shape == (80, 80) and material.dtype == torch.uint8
    assert material.view(-1).tolist() == [gid - 1 for gid in gids]
    assert (material[:9] == Material.LAVA).all() and (material[9, 9:71] == Material.GRASS).all()


@pytest.mark.parametrize(
    ("attributes", "data"),
    [
        ('encoding="csv"', csv(GIDS)),
        ('encoding="csv"', csv(GIDS).replace("\n", "\r\n  ")),
        ('encoding="base64"', coded(packed(GIDS))),
        ('encoding="base64" compression=""', coded(packed(GIDS))),
        ('encoding="base64" compression="zlib"', coded(zlib.compress(packed(GIDS)))),
        ('encoding="base64" compression="gzip"', coded(gzip.compress(packed(GIDS)))),
        (
            'encoding="base64" compression="gzip"',
            coded(gzip.compress(packed(GIDS[:5])) + gzip.compress(packed(GIDS[5:]))),
        ),
        ('encoding="base64" compression="zlib"', coded(gzip.compress(packed(GIDS)))),
        ("", "\n".join(f'<tile gid="{gid}"/>' for gid in GIDS)),
    ],
    ids=[
        "csv",
        "csv-crlf",
        "bare",
        "bare-named",
        "zlib",
        "gzip",
        "gzip of two members",
        "gzip as zlib",
        "elements",
    ],
)
def test_every_encoding_of_tiled_gives_the_same_map(tmp_path: Path, attributes: str, data: str) -> None:
    assert load(tmp_path, document(layer(data, attributes=attributes))).tolist() == SMALL


def test_zstd_is_read_or_refused_with_a_remedy(tmp_path: Path) -> None:
    text = 'encoding="base64" compression="zstd"'
    try:
        from compression import zstd as module
    except ImportError:
        module = pytest.importorskip("zstandard") if _has("zstandard") else None
    if module is None:
        with pytest.raises(MapError, match="zstd.*zlib"):
            load(tmp_path, document(layer(coded(b"anything"), attributes=text)))
    else:
        for raw in (
            module.compress(packed(GIDS)),
            module.compress(packed(GIDS[:5])) + module.compress(packed(GIDS[5:])),
        ):
            assert load(tmp_path, document(layer(coded(raw), attributes=text))).tolist() == SMALL
        with pytest.raises(MapError, match="more data than"):
            load(tmp_path, document(layer(coded(module.compress(bytes(1 << 26))), attributes=text)))
        with pytest.raises(MapError, match="zstd"):
            load(tmp_path, document(layer(coded(b"anything"), attributes=text)))


def _has(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None


@pytest.mark.parametrize("turn", [0x80000000, 0x40000000, 0x20000000, 0x10000000, 0xF0000000])
@pytest.mark.parametrize("encoding", ["csv", "base64", ""])
def test_flipped_tiles_are_read_as_unflipped(tmp_path: Path, turn: int, encoding: str) -> None:
    gids = [gid | turn for gid in GIDS]
    data = {"csv": csv(gids), "base64": coded(packed(gids)), "": "".join(f'<tile gid="{g}"/>' for g in gids)}
    text = f'encoding="{encoding}"' if encoding else ""
    assert load(tmp_path, document(layer(data[encoding], attributes=text))).tolist() == SMALL


def test_firstgid_is_subtracted_and_the_nmmo_tileset_is_preferred(tmp_path: Path) -> None:
    shifted = layer(csv([gid + 9 for gid in GIDS]))
    assert load(tmp_path, document(shifted, '<tileset firstgid="10" source="any.tsx"/>')).tolist() == SMALL
    two = '<tileset firstgid="1" name="other"/><tileset firstgid="10" name="nmmo"/>'
    assert load(tmp_path, document(shifted, two)).tolist() == SMALL
    quirk = '<tileset firstgid="0" source="v1.tsx"/>'
    assert load(tmp_path, document(layer(csv(GIDS)), quirk)).tolist() == SMALL
    assert load(tmp_path, document(layer(csv(GIDS)), "")).tolist() == SMALL


TWO = '<tileset firstgid="1" source="marks.tsx"/><tileset firstgid="3" source="{}"/>'
EXTERNAL = '<?xml version="1.0"?><tileset name="{}" tilecount="2"><image source="a.png"/></tileset>'


@pytest.mark.parametrize(
    "source", ["nmmo.tsx", "ground.tsx", "missing.tsx", "../folder/nmmo.tsx", "C:\\\\x.tsx"]
)
def test_tiles_belong_to_the_tileset_of_their_gids(tmp_path: Path, source: str) -> None:
    """Whichever tileset is first, and whether or not its file is there."""
    (tmp_path / "marks.tsx").write_text(EXTERNAL.format("marks"))
    (tmp_path / "ground.tsx").write_text(EXTERNAL.format("nmmo"))
    shifted = layer(csv([gid + 2 for gid in GIDS]))
    assert load(tmp_path, document(shifted, TWO.format(source))).tolist() == SMALL
    reverse = '<tileset firstgid="8" name="b"/><tileset firstgid="1" name="a"/>'
    assert load(tmp_path, document(layer(csv(GIDS)), reverse)).tolist() == SMALL
    assert load(tmp_path, document(layer(csv([g + 7 for g in GIDS])), reverse)).tolist() == SMALL


@pytest.mark.parametrize(("marks", "second", "message"), [
    ("marks", "other.tsx", "row 0, column 2 is of 'other', not of 'marks'"),
    ("nmmo", "other.tsx", "row 0, column 2 is of 'other', not of 'nmmo'"),
    ("marks", "nmmo.tsx", "row 0, column 0 is of 'marks', not of 'nmmo'"),
    ("nmmo", "nmmo.tsx", "'nmmo' from gid 1, 'nmmo' from gid 3"),
])  # fmt: skip
def test_a_layer_of_several_tilesets_is_refused(
    tmp_path: Path, marks: str, second: str, message: str
) -> None:
    """Also if there is one for materials, to which some tiles do not belong. A name is read from the file."""
    (tmp_path / "marks.tsx").write_text(EXTERNAL.format(marks))
    with pytest.raises(MapError, match=f"several tilesets.*{message}"):
        load(tmp_path, document(layer(csv(GIDS)), TWO.format(second)))


def test_external_tilesets_are_not_trusted(tmp_path: Path) -> None:
    """A pipe would be read forever, and a name may be hidden in an entity or behind much else."""
    os.mkfifo(tmp_path / "pipe.tsx")
    (tmp_path / "bomb.tsx").write_text(BOMB.replace("map", "tileset"))
    (tmp_path / "long.tsx").write_text("<!--" + " " * (2 << 20) + '--><tileset name="nmmo"/>')
    for name in ("pipe", "bomb", "long"):
        with pytest.raises(MapError, match=f"is of 'b', not of '{name}'"):
            text = f'<tileset firstgid="1" source="{name}.tsx"/><tileset firstgid="3" name="b"/>'
            load(tmp_path, document(layer(csv(GIDS)), text))


def test_the_layer_named_terrain_is_used(tmp_path: Path) -> None:
    other = layer(csv([0] * 12), "clouds")
    terrain = f"<group>{layer(csv(GIDS), 'terrain')}</group>"
    assert load(tmp_path, document(other + terrain + "<objectgroup/>")).tolist() == SMALL
    with pytest.raises(MapError, match="2 tile layers.*'clouds', 'clouds'.*'terrain'"):
        load(tmp_path, document(other + other))
    with pytest.raises(MapError, match="2 tile layers"):
        load(tmp_path, document(terrain + terrain))


def test_long_csv_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for piece in (1, 2, 3, 7):
        monkeypatch.setattr(tiled, "_PIECE", piece)
        assert load(tmp_path, document(layer(csv(GIDS)))).tolist() == SMALL
        with pytest.raises(MapError, match="row 2, column 1 has 'x'"):
            load(tmp_path, document(layer(csv(GIDS)[:-6] + "x,5,2")))
        with pytest.raises(MapError, match="row 3, column 0 has ''"):
            load(tmp_path, document(layer(csv(GIDS) + ",,")))
        assert load(tmp_path, document(layer(csv(GIDS) + ",\n "))).tolist() == SMALL


PUBLIC = '<!DOCTYPE map SYSTEM "http://mapeditor.org/dtd/1.0/map.dtd">\n<map '


@pytest.mark.parametrize(
    "encoding", ["UTF-8", "utf-16", "ISO-8859-1", "us-ascii", "windows-1252", "UTF-16LE"]
)
def test_text_encodings_of_xml_editors_are_read(tmp_path: Path, encoding: str) -> None:
    """Old versions of Tiled wrote a DOCTYPE that only names its definition."""
    text = document(layer(csv(GIDS))).replace("<map ", PUBLIC).replace("UTF-8", encoding)
    assert load(tmp_path, text.encode(encoding)).tolist() == SMALL


@pytest.mark.parametrize(
    "encoding", ["utf-7", "utf_8_sig", "cp037", "punycode", "rot13", "unicode_escape", "hz", "x-none"]
)
def test_other_text_encodings_are_refused(tmp_path: Path, encoding: str) -> None:
    """Even if the text is ASCII."""
    with pytest.raises(MapError, match=f"text encoding is '{encoding}'; save it as UTF-8"):
        load(tmp_path, document(layer(csv(GIDS))).replace("UTF-8", encoding))


@pytest.mark.parametrize(
    "form", ['<map a="{}">', "<!--{}-->", "<?a {}?>", "<map width='4' height='3'><a b='{}'/></map>", "<{}>"]
)
def test_long_tags_are_refused_early(tmp_path: Path, form: str) -> None:
    """Older versions of expat scan them again and again; hence the file is not read further."""
    path = tmp_path / "long.tmx"
    path.write_text(form.format("a" * (4 << 20)))
    with path.open("rb") as file, pytest.raises(MapError, match="tag or a comment of more than"):
        try:
            parse(tiled._Document(path), file)
        finally:
            assert file.tell() < 2 << 20
    with pytest.raises(MapError, match="tag or a comment of more than"):
        load_tmx(path)


def test_messages_are_short(tmp_path: Path) -> None:
    """Whatever the names in the file are."""
    with pytest.raises(MapError) as caught:
        load(tmp_path, document(layer(csv(GIDS), "a" * 900_000) * 2))
    assert len(str(caught.value)) < 2000 and "name the one to use" in str(caught.value)


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    """Reading it would wait forever."""
    os.mkfifo(tmp_path / "pipe.tmx")
    with pytest.raises(MapError, match="pipe or a device"):
        load_tmx(tmp_path / "pipe.tmx")


# ---------------------------------------------------------------------------------------------- invalid files

ZLIB = 'encoding="base64" compression="zlib"'
DEEP = "<group>" * 70 + "</group>" * 70
BOMB = (
    '<?xml version="1.0"?><!DOCTYPE map [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    '<map width="4" height="3"><layer name="&b;"/></map>'
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not well-formed XML, or truncated"),
        ("this is no XML", "not well-formed XML"),
        (b"\x00\xff\xfe\x80 binary", "not well-formed XML"),
        (document(layer(csv(GIDS)))[:-20], "truncated"),
        (document(layer(csv(GIDS)))[:200], "truncated"),
        ('<?xml version="1.0" encoding="x-none"?><map/>', "XML|encoding"),
        (BOMB, "DOCTYPE"),
        (BOMB.replace('version="1.0"', 'version="1.0" encoding="UTF-16"').encode("utf-16"), "DOCTYPE"),
        (document(layer(csv(GIDS).replace("7", "&seven;"))), "undefined entity"),
        (
            document(layer(csv(GIDS).replace("7", "&seven;"))).replace("<map ", PUBLIC),
            "an entity that it does not define, &seven;",
        ),
        ("<tileset/>", "<tileset>, not <map>"),
        ("<map/>", "height=''"),
        ('<map width="4" height="minus"/>', "height='minus'"),
        ('<map width="4" height="-3"/>', "height='-3'"),
        ('<map width="4" height="0"/>', "0 x 4"),
        ('<map width="8193" height="3"/>', "3 x 8193"),
        ('<map width="99999999999999" height="3"/>', "width='99999999999999'"),
        ('<map width="4" height="3" infinite="1"/>', "infinite.*untick"),
        ('<map width="4" height="3" orientation="hexagonal"/>', "hexagonal"),
        (document(""), "no tile layer"),
        (document(DEEP), "nested"),
        (document('<layer name="a" width="4" height="3"/>'), "no <data>"),
        (document(layer(csv(GIDS), size='width="5" height="3"')), "3 x 5.*of 3 x 4"),
        (document(layer(csv(GIDS)), '<tileset name="t"/>'), "firstgid=''"),
        (document(layer(csv(GIDS), attributes='encoding="hex"')), "'hex'"),
        (document(layer('<chunk x="0" y="0" width="16" height="16">1,2</chunk>')), "infinite.*untick"),
        (document(layer(csv(GIDS[:-1]))), "11 tiles where 3 x 4.*are 12"),
        (document(layer(csv([*GIDS, 1]))), "13 tiles where"),
        (document(layer("")), "0 tiles where"),
        (document(layer("", attributes="")), "0 tiles where"),
        (document(layer("", attributes='encoding="base64"')), "0 tiles where"),
        (document(layer("1, " * 5000)), "more data than its 3 x 4 tiles"),
        (document(layer('<tile gid="1"/>' * 13, attributes="")), "more data than its 3 x 4 tiles"),
        (document(layer('<tile gid="1"/>' * 11, attributes="")), "11 tiles where"),
        (document(layer("<tile/>" * 12, attributes="")), r"row 0, column 0 has gid 0 \(no tile\)"),
        (document(layer('<tile gid="4294967296"/>' * 12, attributes="")), "gid='4294967296'"),
        (document(layer(csv(GIDS).replace("7", "seven"))), "row 1, column 2 has 'seven'"),
        (document(layer(csv(GIDS).replace("7", "1_0"))), "row 1, column 2 has '1_0'"),
        (document(layer(csv(GIDS).replace("7", "-7"))), "row 1, column 2 has '-7'"),
        (document(layer(csv(GIDS).replace("7", "6.5"))), "row 1, column 2 has '6.5'"),
        (document(layer(csv(GIDS).replace("7", "٧"))), "row 1, column 2 has '٧'"),
        (document(layer(csv(GIDS).replace("7", ""))), "row 1, column 2 has ''"),
        (document(layer(csv(GIDS).replace("7", "9" * 50))), "row 1, column 2 has '9"),
        (document(layer(csv(GIDS).replace("7", "4294967296"))), "row 1, column 2 has '4294967296'"),
        (document(layer(csv(GIDS).replace("7", "8"))), "row 1, column 2 has gid 8; use gids 1 to 7"),
        (document(layer(csv(GIDS).replace("7", "0"))), r"row 1, column 2 has gid 0 \(no tile\)"),
        (document(layer(csv(GIDS)), '<tileset firstgid="3"/>'), "row 0, column 0 has gid 1; use gids 3 to 9"),
        (document(layer("!!!!", attributes='encoding="base64"')), "not base64"),
        (document(layer("ünicode", attributes='encoding="base64"')), "not base64"),
        (document(layer(coded(packed(GIDS)[:-1]), attributes='encoding="base64"')), "47 bytes"),
        (document(layer(coded(packed(GIDS)[:-4]), attributes='encoding="base64"')), "11 tiles where"),
        (document(layer(coded(b"junk"), attributes=ZLIB)), "decompressed"),
        (
            document(layer(coded(zlib.compress(packed(GIDS))[:-6]), attributes=ZLIB)),
            "ends too early",
        ),
        (document(layer(coded(b"junk"), attributes='encoding="base64" compression="lz4"')), "'lz4'.*zlib"),
    ],
)
def test_an_unreadable_map_is_a_map_error_that_names_it(tmp_path: Path, text, message: str) -> None:
    with pytest.raises(MapError, match=message) as caught:
        load(tmp_path, text)
    assert str(tmp_path / "some.tmx") in str(caught.value)


@pytest.mark.parametrize("kind", ["zlib", "gzip"])
def test_a_decompression_bomb_is_not_unpacked(tmp_path: Path, kind: str) -> None:
    """200 MB of zeros in 200 KB, declared as 3 x 4 tiles, are refused after unpacking almost nothing."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | (16 if kind == "gzip" else 0))
    bomb = b"".join(squeeze.compress(bytes(1 << 20)) for _ in range(200)) + squeeze.flush()
    path = tmp_path / "bomb.tmx"
    thing = tiled._Document(path)
    thing.size = (3, 4)
    thing.layers.append(tiled._Layer("ground"))
    thing.layers[0].compression = kind
    tracemalloc.start()
    try:
        with pytest.raises(MapError, match="more data than its 3 x 4 tiles"):
            thing._unpack(bomb, thing.layers[0], 48)
        assert tracemalloc.get_traced_memory()[1] < 2 << 20  # the compressed 200 KB, but not the 200 MB
    finally:
        tracemalloc.stop()
    with pytest.raises(MapError, match="more data than its 3 x 4 tiles"):
        load(tmp_path, document(layer(coded(bomb), attributes=f'encoding="base64" compression="{kind}"')))


def test_missing_files_folders_and_oversized_files_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (tmp_path / "none.tmx", tmp_path):
        with pytest.raises(MapError, match=f"{path}: cannot be read"):
            load_tmx(path)
    monkeypatch.setattr(tiled, "MAX_BYTES", 100)
    with pytest.raises(MapError, match="bytes is more than"):
        load(tmp_path, document(layer(csv(GIDS))))


# ------------------------------------------------------------------------------------------------- writing


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from(tiled.ENCODINGS), st.randoms())
def test_saved_maps_round_trip(tmp_path_factory, height, width, encoding, random) -> None:
    values = [[random.randrange(len(Material)) for _ in range(width)] for _ in range(height)]
    path = tmp_path_factory.mktemp("round") / "trip.tmx"
    save_tmx(path, torch.tensor(values, dtype=torch.uint8), encoding)
    assert load_tmx(path).tolist() == values


@pytest.mark.parametrize("encoding", tiled.ENCODINGS)
def test_saving_writes_the_map_and_its_tiles_and_nothing_else(tmp_path: Path, encoding: str) -> None:
    material = load_tmx(V1_MAPS / "map1.tmx")
    path = tmp_path / "map & <1>.tmx"
    save_tmx(path, material.t(), encoding)  # a view that is not contiguous
    assert torch.equal(load_tmx(path), material.t())
    assert {p.name for p in tmp_path.iterdir()} == {path.name, tiled.PICTURE}
    (tmp_path / tiled.PICTURE).write_bytes(b"painted by hand")
    save_tmx(path, material, encoding)  # replaces the old file
    assert torch.equal(load_tmx(path), material)
    assert (tmp_path / tiled.PICTURE).read_bytes() == b"painted by hand"


def test_the_file_is_what_tiled_expects(tmp_path: Path) -> None:
    save_tmx(tmp_path / "a.tmx", torch.tensor(SMALL, dtype=torch.uint8), picture=False)
    text = (tmp_path / "a.tmx").read_text()
    tileset = 'firstgid="1" name="nmmo" tilewidth="16" tileheight="16" tilecount="7" columns="7"'
    assert f"<tileset {tileset}>" in text
    assert '<data encoding="csv">\n1,2,3,4,\n5,6,7,1,\n3,3,5,2\n</data>' in text
    assert [p.name for p in tmp_path.iterdir()] == ["a.tmx"]


def test_the_picture_is_a_png_of_the_materials_colors(tmp_path: Path) -> None:
    tiled.save_picture(tmp_path / "p.png", side=3)
    data = (tmp_path / "p.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n" and struct.unpack(">II", data[16:24]) == (21, 3)
    at, chunks = 8, {}
    while at < len(data):
        (size,) = struct.unpack(">I", data[at : at + 4])
        name, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        assert struct.unpack(">I", data[at + 8 + size : at + 12 + size])[0] == zlib.crc32(name + body)
        chunks[name] = body
        at += 12 + size
    rows = zlib.decompress(chunks[b"IDAT"])
    assert len(rows) == 3 * (1 + 21 * 3)
    for k, kind in enumerate(MATERIALS.values()):
        assert tuple(rows[1 + 9 * k : 4 + 9 * k]) == kind.color


def test_unwritable_maps_are_refused_and_leave_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fine = torch.tensor(SMALL, dtype=torch.uint8)
    with pytest.raises(ConfigError, match="'base65'.*csv"):
        save_tmx(tmp_path / "a.tmx", fine, "base65")
    for wrong in (fine.long(), fine[0], fine[None]):
        with pytest.raises(MapError, match="2-D uint8"):
            save_tmx(tmp_path / "a.tmx", wrong)
    with pytest.raises(MapError, match="0 x 4"):
        save_tmx(tmp_path / "a.tmx", fine[:0])
    bad = fine.clone()
    bad[1, 3] = 7
    for view in (bad, bad.t().contiguous().t()):
        with pytest.raises(MapError, match="row 1, column 3 holds 7"):
            save_tmx(tmp_path / "a.tmx", view)
    with pytest.raises(MapError, match="cannot be written"):
        save_tmx(tmp_path / "nowhere" / "a.tmx", fine)
    assert not list(tmp_path.iterdir())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    save_tmx(tmp_path / "a.tmx", fine, picture=False)
    monkeypatch.setattr(tiled.os, "fsync", full)
    with pytest.raises(MapError, match="No space left"):
        save_tmx(tmp_path / "a.tmx", fine + 0, "base64-zlib", picture=False)
    assert [p.name for p in tmp_path.iterdir()] == ["a.tmx"]
    assert load_tmx(tmp_path / "a.tmx").tolist() == SMALL  # the old file is unchanged
