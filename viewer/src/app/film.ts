/** Downloads a file to the user's computer. */
export function download(blob: Blob, name: string): void {
  const anchor = document.createElement("a");
  anchor.href = URL.createObjectURL(blob);
  anchor.download = name;
  anchor.click();
  window.setTimeout(() => URL.revokeObjectURL(anchor.href), 10_000);
}

const FORMATS = ["video/webm;codecs=vp9", "video/webm;codecs=vp8", "video/webm"];
const BITS_PER_SECOND = 8_000_000;

/** Records the canvas as WebM. */
export class Film {
  private recorder: MediaRecorder | null = null;

  /** @param done gets the video, or a message that says why there is none. */
  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly done: (film: Blob | string) => void,
  ) {}

  get running(): boolean {
    return this.recorder !== null;
  }

  /** Starts recording; returns false and passes a message to `done` if the browser does not support it. */
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
    // One chunk per second, so that an interrupted video is not lost.
    recorder.start(1000);
    this.recorder = recorder;
    return true;
  }

  end(): void {
    if (this.recorder?.state !== "inactive") this.recorder?.stop();
  }
}
