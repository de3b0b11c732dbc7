/** What the server saw: the masked input as it left, and the two pictures side by side. */

import { Decorator } from '../../protocol/channel/decorator.ts';
import type { Channel } from '../../protocol/channel/index.ts';
import { Kind } from '../../protocol/inference/messages.ts';
import type { Shape } from '../../protocol/ring/shape.ts';

/** Tells `observe` of each masked input that leaves through a channel: packed numbers, ringsOf(program)[0] bits each. */
export function observing(channel: Channel, observe: (masked: Uint8Array) => void): Channel {
  return new Observer(channel, observe);
}

class Observer extends Decorator {
  readonly #observe: (masked: Uint8Array) => void;

  constructor(channel: Channel, observe: (masked: Uint8Array) => void) {
    super(channel);
    this.#observe = observe;
  }

  override send(kind: number, payload: Uint8Array): Promise<void> {
    if (kind === Kind.maskedInput) this.#observe(payload.slice());
    return super.send(kind, payload);
  }
}

/** Paints values 0..255, [channels, height, width], gray or in colours. */
export function paint(
  canvas: HTMLCanvasElement,
  [channels, height, width]: Shape,
  value: (index: number) => number,
): void {
  const plane = width * height;
  const image = new ImageData(width, height);
  for (let i = 0; i < plane; i++) {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = value(channels === 1 ? i : c * plane + i);
    image.data[4 * i + 3] = 255;
  }
  canvas.width = width;
  canvas.height = height;
  canvas.getContext('2d')!.putImageData(image, 0, 0);
}

/** Pearson's correlation of two vectors, -1..1; 0 when one is constant. */
export function correlation(x: ArrayLike<number>, y: ArrayLike<number>): number {
  const n = x.length;
  const mean = (values: ArrayLike<number>) => {
    let sum = 0;
    for (let i = 0; i < n; i++) sum += values[i]!;
    return sum / n;
  };
  const [mx, my] = [mean(x), mean(y)];
  let [xx, yy, xy] = [0, 0, 0];
  for (let i = 0; i < n; i++) {
    const [dx, dy] = [x[i]! - mx, y[i]! - my];
    xx += dx * dx;
    yy += dy * dy;
    xy += dx * dy;
  }
  return xx === 0 || yy === 0 ? 0 : xy / Math.sqrt(xx * yy);
}
