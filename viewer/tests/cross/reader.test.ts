/** TypeScript reads the recordings of Python, and derives observations, attacks and counts from them. */
import { describe, expect, test } from "vitest";
import { perceive, probabilitiesOf } from "../../src/model/perception";
import { kindOf, populationOf } from "../../src/model/slots";
import { lightOf, observed } from "../../src/model/systems";
import type { Frame, Header, Heat } from "../../src/model/types";
import { Recording } from "../../src/replay/recording";
import { Scan } from "../../src/replay/scan";
import { MemorySource } from "../../src/replay/source";
import { Events } from "../../src/scene/events";
import { choiceNames } from "../../src/ui/policy";
import { bytesOf, FOLDER, names, truthOf, type Saw, type Tick } from "./fixtures";

test.runIf(FOLDER)("the fixtures are there", () => expect(names().length).toBeGreaterThan(5));

describe.each(names())("%s", (name) => {
  const truth = truthOf(name);
  const open = () => Recording.open(new MemorySource(bytesOf(name)));

  test("header and map", async () => {
    const { header, base, first, last, spans } = await open();
    expect(header.title).toBe(`fixture ${name}`);
    expect(header.realm).toBe(1);
    expect(header.heads).toEqual(truth.heads);
    expect([...base]).toEqual(truth.base);
    const ticks = truth.ticks.map(({ tick }) => tick);
    expect([first, last]).toEqual([ticks[0], ticks.at(-1)]);
    expect(spans.flatMap(([from, to]) => Array.from({ length: to - from + 1 }, (_, i) => from + i))).toEqual(
      ticks,
    );
  });

  test("every column of every tick, in any order", async () => {
    const recording = await open();
    // Backwards, then forwards in steps: depleted tiles are derived from neighboring frames.
    const order = [...truth.ticks].reverse().concat(truth.ticks.filter((_, i) => i % 3 === 0));
    for (const tick of order) {
      const frame = await recording.load(tick.tick);
      expect(frame.tick).toBe(tick.tick);
      for (const { name: column } of recording.header.columns) {
        expect([...frame.column(column)!], column).toEqual(tick.columns[column]);
      }
      expect(usedUp(frame, recording.header)).toEqual(tick.usedUp);
    }
    expect((await recording.load(order[0]!.tick)).column("no such column")).toBeUndefined();
  });

  test("a gap returns the newest tick before it", async () => {
    const recording = await open();
    const known = truth.ticks.map(({ tick }) => tick);
    for (let tick = recording.first - 2; tick < recording.last + 3; tick++) {
      const expected = known.filter((each) => each <= tick).at(-1) ?? known[0];
      expect((await recording.load(tick)).tick).toBe(expected);
    }
  });

  test("observations", async () => {
    const recording = await open();
    const { header, base } = recording;
    let compared = 0;
    for (const { tick, seen } of truth.ticks) {
      const frame = await recording.load(tick);
      for (const saw of seen) {
        const own = perceive(header, base, frame, saw.slot)!;
        expect([...own.material]).toEqual(saw.material);
        expect([...own.occupant].map((slot) => kind(header, saw, slot))).toEqual(saw.occupant);
        const rows = saw.rows.flatMap((slot, i) => (slot < 0 ? [] : [[slot, ...saw.offsets[i]!]]));
        expect(own.entities.map((e) => [e.slot, e.rowOffset, e.colOffset])).toEqual(rows);
        own.entities.forEach(({ reachable }, i) => {
          expect(reachable).toEqual(saw.targets.map((of) => of[i + 1] === 1));
        });
        compared++;
      }
    }
    expect(compared).toBeGreaterThan(0);
  });

  test("attacks", async () => {
    const recording = await open();
    const events = new Events(recording.header);
    for (const [i, { tick, attacks: expected }] of truth.ticks.entries()) {
      const before = truth.ticks[i - 1];
      if (!before) continue;
      const [older, frame] = [await recording.load(before.tick), await recording.load(tick)];
      events.update(older, frame);
      const found = [...events.attackers.subarray(0, events.attacks)].map((from) => [
        from,
        events.attacked[from],
        events.after.style[from],
      ]);
      expect(found).toEqual(before.tick + 1 === tick ? expected : []);
    }
  });

  test("counts of the background worker", async () => {
    const recording = await open();
    const scan = new Scan(recording);
    await new Promise<void>((done) => scan.listen(() => scan.progress === 1 && done()));
    const { header } = recording;
    const { series } = scan;
    const sums = (of: (tick: Tick) => number) => truth.ticks.map(of);
    const agents = Array.from({ length: header.agents }, (_, slot) => slot);
    const numbers = (tick: Tick, column: string) => tick.columns[column]!;
    expect([...series.tick]).toEqual(sums(({ tick }) => tick));
    series.population.forEach((curve, p) => {
      const members = agents.filter((slot) => populationOf(header, slot) === p);
      expect([...curve]).toEqual(sums((tick) => members.filter((s) => numbers(tick, "alive")[s]).length));
    });
    series.deaths.slice(1).forEach((curve, i) => {
      const dead = (tick: Tick) => agents.filter((slot) => numbers(tick, "cause")[slot] === i + 1).length;
      expect([...curve]).toEqual(sums(dead));
    });
    const mean = (tick: Tick) => {
      const dead = agents.filter((slot) => numbers(tick, "cause")[slot] !== 0);
      return dead.reduce((sum, slot) => sum + numbers(tick, "age")[slot]!, 0) / dead.length;
    };
    expect([...series.lifetime]).toEqual(sums(mean));
    const lives = (tick: Tick, slot: number) =>
      numbers(tick, "alive")[slot] ? numbers(tick, "entity")[slot] : -1;
    const born = (tick: Tick, i: number) =>
      i === 0
        ? 0
        : agents.filter((s) => ![-1, lives(truth.ticks[i - 1]!, s)].includes(lives(tick, s)!)).length;
    expect([...series.births]).toEqual(truth.ticks.map(born));
    for (const [material, curve] of Object.entries(series.usedUp)) {
      const is = (tile: number) => header.materials[truth.base[tile]!]!.name === material;
      expect([...curve]).toEqual(sums((tick) => tick.usedUp.filter(is).length));
    }
    series.price.forEach((curve, item) => {
      const price = (tick: Tick) => header.prices[numbers(tick, "quotes")[item * 3 + 2]! - 1] ?? NaN;
      expect([...curve]).toEqual(sums(price));
    });
    for (const population of [-1, 1]) {
      for (const [map, column] of [
        ["visits", "alive"],
        ["danger", "cause"],
      ] as const) {
        const heat = await counted(scan, map, population);
        const expected = new Map<number, number>();
        for (const tick of truth.ticks) {
          for (const slot of agents) {
            if (population >= 0 && populationOf(header, slot) !== population) continue;
            if (numbers(tick, column)[slot] === 0) continue;
            const at = (axis: string) => Math.floor(numbers(tick, axis)[slot]! / heat.stride);
            const cell = at("row") * heat.cols + at("col");
            expected.set(cell, (expected.get(cell) ?? 0) + 1);
          }
        }
        const found = [...heat.values.entries()].filter(([, value]) => !Number.isNaN(value));
        expect(new Map(found)).toEqual(new Map([...expected].sort(([a], [b]) => a - b)));
        expect(heat.stride).toBe(name === "large" ? 2 : 1);
      }
    }
    scan.close();
  });

  if (name === "systems") {
    test("systems, of which the viewer knows nothing else", async () => {
      const recording = await open();
      const { header } = recording;
      const [system, ...others] = header.systems;
      expect(others).toEqual([]);
      expect([system!.name, system!.settings, system!.edits]).toEqual(["senses", { period: 8, head: true }, false]);
      expect(system!.fields.map(({ column, shape, light }) => [column, shape, light])).toEqual([
        ["senses.light", [], true],
        ["senses.place", [3], false],
        ["senses.lean", [2, 1], false],
        ["senses.even", [], false],
      ]);
      const [light, place] = system!.fields;
      expect([light!.about, light!.low, light!.high]).toEqual(["light, of 200", 0, 200]);
      let compared = 0;
      for (const { tick, columns } of truth.ticks) {
        const frame = await recording.load(tick);
        const slot = columns["alive"]!.indexOf(1);
        if (slot >= header.agents) continue;
        expect(lightOf(header, frame, null)).toBe(columns["senses.light"]![slot]! / 200);
        const [row, col, age] = ["row", "col", "age"].map((name) => columns[name]![slot]!);
        expect(observed(header, frame, place!, slot)).toEqual([row, -col!, age]);
        // The heads of systems follow those of the rules.
        const heads = probabilitiesOf(header, frame, slot)!;
        expect([...heads.keys()].at(-1)).toBe("nod");
        const nod = [...heads.get("nod")!];
        expect(nod.length).toBe(3);
        expect(nod.reduce((sum, share) => sum + share)).toBeCloseTo(1, 1);
        expect(choiceNames(header, "nod", 3, [])).toEqual(["0", "1", "2"]);
        compared++;
      }
      expect(compared).toBeGreaterThan(20);
    });
  } else {
    test("no systems", async () => expect((await open()).header.systems).toEqual([]));
  }

  if (name !== "full") return;

  test("maps that it holds", async () => {
    const { heats } = await open();
    expect(heats.map(({ tick }) => tick)).toEqual([truth.ticks[10]!.tick, truth.ticks[20]!.tick]);
    const [one] = heats;
    expect(one).toMatchObject({ name: "value", population: 2, rows: 33, cols: 47, stride: 1 });
    expect(one!.about).toBe("A map in a fixture.");
    expect(one!.values[2]).toBe(20);
    expect(one!.values[3 * 47 + 5]).toBeNaN();
  });
});

/** Returns the heat map as soon as the worker, or its substitute, has computed it. */
function counted(scan: Scan, map: "visits" | "danger", population: number): Promise<Heat> {
  return new Promise((resolve) => {
    const look = (): void => {
      const heat = scan.heat(map, population);
      if (!heat) return;
      // Further requests would compute maps that are not needed.
      ending();
      resolve(heat);
    };
    const ending = scan.listen(look);
    look();
  });
}

function usedUp(frame: Frame, header: Header): number[] {
  const tiles: number[] = [];
  for (let tile = 0; tile < header.height * header.width; tile++) {
    if ((frame.usedUp[tile >> 3]! >> (tile & 7)) & 1) tiles.push(tile);
  }
  return tiles;
}

/** Returns the code of the observation: 0 empty, 1 own population, 2 another population, 3 + NPC kind. */
function kind(header: Header, saw: Saw, slot: number): number {
  if (slot < 0) return 0;
  if (slot >= header.agents) return 3 + kindOf(header, slot);
  return populationOf(header, slot) === populationOf(header, saw.slot) ? 1 : 2;
}
