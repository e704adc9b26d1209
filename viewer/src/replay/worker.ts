/** The worker's side of ./foreman.ts. */
import { reasonOf } from "./error";
import type { Answer, Message } from "./foreman";
import type { Product } from "./work";
import { Workshop } from "./work";

// In the page's types `self` is a window; only these members of a worker are used.
interface Scope {
  onmessage: ((event: MessageEvent<Message>) => void) | null;
  postMessage(message: Answer, transfer?: Transferable[]): void;
}
const scope = self as unknown as Scope;

let workshop: Workshop | undefined;

scope.onmessage = ({ data: message }) => {
  if ("shape" in message) {
    workshop = new Workshop(message.shape);
    return;
  }
  const { id, order } = message;
  workshop!.do(order).then(
    (product) => scope.postMessage({ id, product }, transfers(product)),
    (thrown: unknown) => scope.postMessage({ id, error: reasonOf(thrown) }),
  );
};
scope.postMessage("ready");

function transfers(product: Product): Transferable[] {
  if ("counts" in product) return [product.counts.buffer];
  return [product.buffer];
}
