/** Long work in short pieces, so that timers, sockets and a page's user get their turns in between. */

/** How long work that can be interrupted keeps the event loop, in ms. LOCAL. */
const SLICE_MS = 10;

/** Does work that yields now and then, and lets the event loop come round whenever it has kept it for some ms. */
export async function inSlices<T>(work: Iterator<undefined, T>): Promise<T> {
  let began = performance.now();
  for (;;) {
    const { done, value } = work.next();
    if (done) return value;
    if (performance.now() - began < SLICE_MS) continue;
    await nextTurn();
    began = performance.now();
  }
}

/** Waits for the event loop to come round. Browsers throttle timers, so theirs is a message to oneself. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    if (typeof setImmediate === 'function') {
      setImmediate(resolve);
      return;
    }
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(undefined);
  });
}
