/** The picture, whether it comes from a pen, a camera, a file or an example. */

import type { Shape } from '../../protocol/ring/shape.ts';
import { pixelsOf, readImage } from '../browser.ts';
import { centredDigit } from './digit.ts';

/** Width of the pen, and how far an arrow key moves it, in canvas pixels. */
const PEN = 22;
const STEP = 10;

/** The drawing area and the image on it. */
export class Drawing {
  readonly #canvas: HTMLCanvasElement;
  readonly #context: CanvasRenderingContext2D;
  readonly #changed: () => void;
  /** The image that was opened, as it was; undefined while it is a drawing. */
  #bitmap: ImageBitmap | undefined;
  /** The image that is being read; what is drawn, opened or cleared meanwhile is newer, and stays. */
  #reading: ImageBitmap | Blob | string | undefined;
  /** Nothing is drawn and no image is open, so that there is nothing to classify. */
  #empty = true;
  /** The pen of the keyboard: where it is, and whether it is down. */
  #pen = { x: 140, y: 80, down: false };
  /** Where the stroke that is being drawn has come to, in canvas pixels. */
  #stroke: { x: number; y: number } | undefined;

  /** @param changed - called when the picture may be another one */
  constructor(canvas: HTMLCanvasElement, changed: () => void) {
    this.#canvas = canvas;
    this.#context = canvas.getContext('2d', { willReadFrequently: true })!;
    this.#changed = changed;
    canvas.addEventListener('pointerdown', (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.#begin();
      this.#stroke = this.#at(event);
      this.#lineTo(this.#stroke);
    });
    canvas.addEventListener('pointermove', (event) => {
      if (this.#stroke === undefined) return;
      for (const part of event.getCoalescedEvents?.() ?? [event]) this.#lineTo(this.#at(part));
    });
    for (const type of ['pointerup', 'pointercancel'] as const) {
      canvas.addEventListener(type, () => {
        this.#stroke = undefined;
      });
    }
    canvas.addEventListener('keydown', (event) => this.#key(event));
    this.#wipe();
  }

  get empty(): boolean {
    return this.#empty;
  }

  /** Is it an image that was opened, and no drawing? */
  get opened(): boolean {
    return this.#bitmap !== undefined;
  }

  clear(): void {
    this.#wipe();
    this.#changed();
  }

  #wipe(): void {
    this.#bitmap?.close();
    this.#bitmap = undefined;
    this.#reading = undefined;
    this.#empty = true;
    this.#stroke = undefined;
    this.#pen = { x: 140, y: 80, down: false };
    this.#context.fillStyle = 'black';
    this.#context.fillRect(0, 0, this.#canvas.width, this.#canvas.height);
  }

  /**
   * Shows an image, or an image file.
   * @returns whether it is shown: not when the picture was changed while it was read
   * @throws RangeError when it is none
   */
  async open(source: ImageBitmap | Blob | string): Promise<boolean> {
    this.#reading = source;
    const bitmap = source instanceof ImageBitmap ? source : await readImage(source);
    if (this.#reading !== source) return false;
    this.clear();
    const { width, height } = this.#canvas;
    const scale = Math.min(width / bitmap.width, height / bitmap.height);
    const [w, h] = [bitmap.width * scale, bitmap.height * scale];
    this.#context.imageSmoothingEnabled = scale < 1;
    this.#context.drawImage(bitmap, (width - w) / 2, (height - h) / 2, w, h);
    this.#context.imageSmoothingEnabled = true;
    this.#bitmap = bitmap;
    this.#empty = false;
    this.#changed();
    return true;
  }

  /** The pixels for a model; undefined when there is no image. */
  pixels(shape: Shape, ofDigits: boolean): Float32Array | undefined {
    if (this.#empty) return undefined;
    const bitmap = this.#bitmap;
    if (bitmap?.height === shape[1] && bitmap.width === shape[2]) return pixelsOf(bitmap, shape);
    if (!ofDigits) return pixelsOf(bitmap ?? this.#canvas, shape, 'cover');
    const { width, height } = this.#canvas;
    const data = pixelsOf(this.#canvas, [1, height, width]);
    return centredDigit({ width, height, data });
  }

  /** A stroke on an opened image begins a new drawing. */
  #begin(): void {
    this.#reading = undefined;
    if (this.#bitmap !== undefined) this.clear();
  }

  #at({ clientX, clientY }: PointerEvent): { x: number; y: number } {
    const box = this.#canvas.getBoundingClientRect();
    return {
      x: ((clientX - box.left) * this.#canvas.width) / box.width,
      y: ((clientY - box.top) * this.#canvas.height) / box.height,
    };
  }

  #lineTo(point: { x: number; y: number }): void {
    const context = this.#context;
    const from = this.#stroke ?? point;
    context.strokeStyle = 'white';
    context.lineWidth = PEN;
    context.lineCap = 'round';
    context.beginPath();
    context.moveTo(from.x, from.y);
    context.lineTo(point.x, point.y);
    context.stroke();
    this.#stroke = point;
    this.#empty = false;
    this.#changed();
  }

  #key(event: KeyboardEvent): void {
    const moves: Record<string, readonly [number, number]> = {
      ArrowLeft: [-STEP, 0],
      ArrowRight: [STEP, 0],
      ArrowUp: [0, -STEP],
      ArrowDown: [0, STEP],
    };
    const move = moves[event.key];
    const pen = this.#pen;
    if (event.key === ' ') {
      this.#begin();
      this.#pen = { ...this.#pen, down: !pen.down };
    } else if (move !== undefined) {
      const inside = (value: number, most: number) => Math.min(most, Math.max(0, value));
      const x = inside(pen.x + move[0], this.#canvas.width);
      const y = inside(pen.y + move[1], this.#canvas.height);
      this.#pen = { ...pen, x, y };
    } else return;
    event.preventDefault();
    if (!this.#pen.down) return;
    this.#stroke = { x: pen.x, y: pen.y };
    this.#lineTo(this.#pen);
    this.#stroke = undefined;
  }
}
