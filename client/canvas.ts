/** Images of a browser as the pixels a program takes: canvases, bitmaps, elements, files, tensors. */

import { pixelsOfRgba, pixelsOfTensor, type RgbaImage } from '../protocol/program/pixels.ts';
import type { Shape } from '../protocol/ring/shape.ts';
import type { Fit, ImageSource } from './images.ts';

/**
 * Reads an image file.
 * @param source - a file or blob, or the URL of one
 * @throws RangeError when it is not an image that this browser reads
 */
export async function readImage(source: Blob | string | URL): Promise<ImageBitmap> {
  const blob = source instanceof Blob ? source : await fetchBlob(source);
  try {
    return await createImageBitmap(blob);
  } catch (cause) {
    const name = source instanceof Blob ? (source as Partial<File>).name : String(source);
    throw new RangeError(`${name ?? 'this'} is not an image that this browser can read`, { cause });
  }
}

async function fetchBlob(url: string | URL): Promise<Blob> {
  const response = await fetch(url);
  if (!response.ok) throw new RangeError(`${url} answers ${response.status}`);
  return response.blob();
}

/**
 * The pixels of an image, 0..1, [channels, height, width]. A program of one channel gets the luminance (Rec. 601), one
 * of three red, green and blue; opacity is ignored.
 * @param shape - the program's: `session.program.input.shape`
 * @param fit - for images of another size; without it they are refused
 * @throws RangeError when the image does not have the size that the program takes, or is empty
 */
export function pixelsOf(source: ImageSource, shape: Shape, fit?: Fit): Float32Array {
  if ('dims' in source) return pixelsOfTensor(source, shape);
  const raw = 'data' in source ? source : undefined;
  if (raw !== undefined && (fit === undefined || isExact(raw, shape))) {
    return pixelsOfRgba(raw, shape);
  }
  const image = raw === undefined ? (source as unknown as CanvasImageSource) : canvasOf(raw);
  const size = sizeOf(image);
  const exact = isExact(size, shape);
  if (fit === undefined && !exact) return pixelsOfRgba({ ...size, data: new Uint8Array() }, shape);
  const [, height, width] = shape;
  const context = contextOf(width, height);
  context.imageSmoothingEnabled = !exact;
  context.imageSmoothingQuality = 'high';
  context.fillStyle = 'black';
  context.fillRect(0, 0, width, height);
  const { x, y, w, h } = place(size, { width, height }, fit ?? 'fill');
  context.drawImage(image, x, y, w, h);
  return pixelsOfRgba(context.getImageData(0, 0, width, height), shape);
}

interface Size {
  readonly width: number;
  readonly height: number;
}

const isExact = ({ width, height }: Size, shape: Shape): boolean =>
  height === shape[1] && width === shape[2];

/** @throws RangeError when nothing is there to be seen */
function sizeOf(image: CanvasImageSource): Size {
  let size: Size;
  if ('naturalWidth' in image) size = { width: image.naturalWidth, height: image.naturalHeight };
  else if ('videoWidth' in image) size = { width: image.videoWidth, height: image.videoHeight };
  else if ('displayWidth' in image) {
    size = { width: image.displayWidth, height: image.displayHeight };
  } else if (typeof image.width === 'number') size = image as Size;
  else throw new RangeError('an SVG element has no pixels: draw it on a canvas first');
  if (!(size.width > 0 && size.height > 0)) throw new RangeError('the image has not loaded');
  return size;
}

/** Where an image goes inside a frame. */
function place(image: Size, frame: Size, fit: Fit): { x: number; y: number; w: number; h: number } {
  const across = frame.width / image.width;
  const down = frame.height / image.height;
  const scale = fit === 'cover' ? Math.max(across, down) : Math.min(across, down);
  const w = fit === 'fill' ? frame.width : image.width * scale;
  const h = fit === 'fill' ? frame.height : image.height * scale;
  return { x: (frame.width - w) / 2, y: (frame.height - h) / 2, w, h };
}

function canvasOf({ width, height, data }: RgbaImage): OffscreenCanvas {
  const context = contextOf(width, height);
  context.putImageData(new ImageData(Uint8ClampedArray.from(data), width, height), 0, 0);
  return context.canvas;
}

function contextOf(width: number, height: number): OffscreenCanvasRenderingContext2D {
  const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });
  if (context === null) throw new Error('this browser has no canvas to draw on');
  return context;
}
