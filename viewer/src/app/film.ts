/** Gives a file to whoever looks at the page. */
export function download(blob: Blob, name: string): void {
  const anchor = document.createElement("a");
  anchor.href = URL.createObjectURL(blob);
  anchor.download = name;
  anchor.click();
  window.setTimeout(() => URL.revokeObjectURL(anchor.href), 10_000);
}

const FORMATS = ["video/webm;codecs=vp9", "video/webm;codecs=vp8", "video/webm"];
const BITS_PER_SECOND = 8_000_000;

/** Records what is on a canvas as WebM. */
export class Film {
  private recorder: MediaRecorder | null = null;

  /** @param done gets the film, or a sentence that says why there is none. */
  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly done: (film: Blob | string) => void,
  ) {}

  get running(): boolean {
    return this.recorder !== null;
  }

  /** Begins; false, and a sentence to `done`, if this browser cannot. */
  begin(): boolean {
    const format =
      typeof MediaRecorder === "undefined"
        ? undefined
        : FORMATS.find((type) => MediaRecorder.isTypeSupported(type));
    if (!format || typeof this.canvas.captureStream !== "function") {
      this.done("This browser cannot record video; Firefox and Chromium can.");
      return false;
    }
    const pieces: Blob[] = [];
    const stream = this.canvas.captureStream(30);
    const recorder = new MediaRecorder(stream, { mimeType: format, videoBitsPerSecond: BITS_PER_SECOND });
    recorder.ondataavailable = ({ data }) => {
      if (data.size) pieces.push(data);
    };
    recorder.onerror = () => this.done("Recording stopped early; the video so far is kept.");
    recorder.onstop = () => {
      stream.getTracks().forEach((track) => track.stop());
      this.recorder = null;
      this.done(
        pieces.length ? new Blob(pieces, { type: "video/webm" }) : "The video is empty: nothing was drawn.",
      );
    };
    // A piece a second: a film that breaks off is not lost.
    recorder.start(1000);
    this.recorder = recorder;
    return true;
  }

  end(): void {
    if (this.recorder?.state !== "inactive") this.recorder?.stop();
  }
}
