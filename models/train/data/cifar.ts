/**
 * The binary files of CIFAR-10 and CIFAR-100: records of one label byte, or of two (one of 20 coarse classes, then one of 100
 * fine ones), and 3072 pixel bytes (red, green and blue planes of 32x32). Files may be compressed with Brotli or gzip, which
 * their name says: `.br`, `.gz`.
 */

import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { ModelError } from '../../errors.ts';
import type { LabelledImages } from './images.ts';

const SHAPE = [3, 32, 32] as const;
const PIXELS = 3 * 32 * 32;

/** The label bytes in front of a record's pixels: how many values each has. The last one is the class that is read. */
interface Format {
  readonly name: string;
  readonly classes: readonly number[];
}

const CIFAR10: Format = { name: 'CIFAR-10', classes: [10] };
const CIFAR100: Format = { name: 'CIFAR-100', classes: [20, 100] };

const sizeOf = ({ classes }: Format) => classes.length + PIXELS;

/** Most bytes a file may unpack to. LOCAL; CIFAR-100's training images have 154 million. */
const LIMIT = 1 << 28;

/** Names of CIFAR-10's classes. */
export const CIFAR10_LABELS: readonly string[] = [
  'airplane',
  'automobile',
  'bird',
  'cat',
  'deer',
  'dog',
  'frog',
  'horse',
  'ship',
  'truck',
];

/**
 * Reads a file of CIFAR-10 or CIFAR-100 records, unpacking it first when its name ends in `.br` or `.gz`. Which of the two it
 * is follows from its size; CIFAR-100's labels are the fine ones.
 * @param name the file's name, also for error messages
 * @throws ModelError `file` with one sentence when the file is not what it should be
 */
export function readCifar(file: Uint8Array, name: string): LabelledImages {
  const bytes = unpacked(file, name);
  const format = [CIFAR10, CIFAR100].find((one) => bytes.length % sizeOf(one) === 0);
  if (bytes.length === 0 || format === undefined) {
    throw new ModelError(
      'file',
      `${name} is not a file of CIFAR-10 or CIFAR-100: it has ${bytes.length} bytes, not a multiple of ${sizeOf(CIFAR10)} or ${sizeOf(CIFAR100)}`,
    );
  }
  const { classes } = format;
  const size = sizeOf(format);
  const count = bytes.length / size;
  const pixels = new Uint8Array(count * PIXELS);
  const labels = new Uint8Array(count);
  for (let i = 0; i < count; i++) {
    const record = bytes.subarray(i * size, (i + 1) * size);
    const wrong = classes.findIndex((most, at) => record[at]! >= most);
    if (wrong >= 0) {
      throw new ModelError(
        'file',
        `${name} is not a ${format.name} file: record ${i} has label ${record[wrong]}, of ${classes[wrong]} classes`,
      );
    }
    labels[i] = record[classes.length - 1]!;
    pixels.set(record.subarray(classes.length), i * PIXELS);
  }
  return { shape: SHAPE, pixels, labels };
}

function unpacked(file: Uint8Array, name: string): Uint8Array {
  const unpack = /\.br$/.test(name)
    ? brotliDecompressSync
    : /\.gz$/.test(name)
      ? gunzipSync
      : undefined;
  try {
    return unpack?.(file, { maxOutputLength: LIMIT }) ?? file;
  } catch (cause) {
    throw new ModelError(
      'file',
      `${name} cannot be unpacked: it is cut short, damaged or too large`,
      { cause },
    );
  }
}
