/** A recording that cannot be opened or read. Its message is for the page: what is wrong, and what to do. */
export class ReplayError extends Error {
  override readonly name = "ReplayError";
}

/** What is wrong, as a sentence, from anything that was thrown. */
export function reasonOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
