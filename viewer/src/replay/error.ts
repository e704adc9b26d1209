/** A recording that cannot be opened or read. The message is shown on the page: the problem and a fix. */
export class ReplayError extends Error {
  override readonly name = "ReplayError";
}

/** A readable message from any thrown value. */
export function reasonOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
