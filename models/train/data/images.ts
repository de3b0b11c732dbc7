/** Labelled images in memory, and the batches that training takes. */

import { type GraphInput, preprocess } from '../../graph/index.ts';

/** Labelled images of one shape. */
export interface LabelledImages {
  readonly shape: readonly [number, number, number];
  /** Pixels 0..255, [image][C][H][W]. */
  readonly pixels: Uint8Array;
  /** Class of each image. */
  readonly labels: Uint8Array;
}

/** The images from `from` up to `to`, sharing their memory. */
export function slice(set: LabelledImages, from: number, to: number): LabelledImages {
  const [c, h, w] = set.shape;
  return {
    shape: set.shape,
    pixels: set.pixels.subarray(from * c * h * w, to * c * h * w),
    labels: set.labels.subarray(from, to),
  };
}

/** The same images in memory that other threads can share: copied, unless they are there already. */
export function shareImages({ shape, pixels, labels }: LabelledImages): LabelledImages {
  const share = (bytes: Uint8Array) => {
    if (bytes.buffer instanceof SharedArrayBuffer) return bytes;
    const copy = new Uint8Array(new SharedArrayBuffer(bytes.length));
    copy.set(bytes);
    return copy;
  };
  return { shape, pixels: share(pixels), labels: share(labels) };
}

/** Some sets of one shape, one after the other. */
export function concatenate(sets: readonly LabelledImages[]): LabelledImages {
  const join = (parts: readonly Uint8Array[]) => {
    const out = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const part of parts) {
      out.set(part, at);
      at += part.length;
    }
    return out;
  };
  return {
    shape: sets[0]!.shape,
    pixels: join(sets.map(({ pixels }) => pixels)),
    labels: join(sets.map(({ labels }) => labels)),
  };
}

/** Changes one image of a shape into a variant of it, both pixels 0..255; `index`: its place in the set. */
export type Augment = (
  pixels: Uint8Array,
  shape: readonly [number, number, number],
  out: Float32Array,
  index: number,
) => void;

/** Images and labels as a network takes them. */
export interface Batch {
  /** Preprocessed, [image][C][H][W]. */
  readonly images: Float32Array;
  readonly labels: Uint8Array;
}

/** Gathers the images of some indices into a batch. */
export function makeBatch(
  set: LabelledImages,
  input: GraphInput,
  indices: ArrayLike<number>,
  augment?: Augment,
): Batch {
  const size = set.pixels.length / set.labels.length;
  const images = new Float32Array(indices.length * size);
  const variant = new Float32Array(size);
  for (let b = 0; b < indices.length; b++) {
    const pixels = set.pixels.subarray(indices[b]! * size, (indices[b]! + 1) * size);
    augment?.(pixels, set.shape, variant, indices[b]!);
    images.set(preprocess(input, augment === undefined ? pixels : variant), b * size);
  }
  return { images, labels: Uint8Array.from(indices, (i) => set.labels[i]!) };
}
