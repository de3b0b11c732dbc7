/**
 * A client's session with a server, as its users have it: the same in Node, where it runs in the caller's thread, and in browsers, where it
 * runs in a worker.
 *
 * Contract
 * - `connect` or `openSession` -> any number of prepare() and infer() -> close(). Calls may be made at any time.
 * - prepare() makes bundles ahead, each good for one inference; infer() takes the oldest, or makes one first. Preparations run one after the
 *   other, and inferences too, but beside them: an inference with a bundle that is ready waits for no preparation.
 * - With `keepReady` bundles are made in the background.
 * - A mistake in an argument (a TypeError or RangeError) costs nothing. A call that is cancelled rejects at once and begins nothing more;
 *   the bundle or inference that it had begun is finished, and a bundle is kept. A server that refuses to prepare (`refused`, `quota`,
 *   `draining`, `busy`) ends that call alone.
 * - A lost link ends the calls that were using it, and spends the bundle of an inference. The session comes back by itself, with
 *   what both sides still have; a call waits for one try. Any other error ends the session, and every later call rejects with it.
 * - `onProgress` and `onStatus` are called between steps of the protocol, in a browser shortly after; what `onProgress` throws ends the session.
 */

import type { Program } from '../protocol/program/program.ts';
import type { Inference } from './answers.ts';
import type { Classification, ClassifyOptions } from './classify.ts';
import type { ImageArgument } from './images.ts';
import type { CallOptions, PrepareOptions } from './options.ts';

/** An open session; see the contract above. */
export interface Session extends AsyncDisposable {
  /** Resolves when the session is over: with the error that ended it, or undefined after close(). Never rejects. */
  readonly closed: Promise<Error | undefined>;
  /** The public program that both sides run. */
  readonly program: Program;
  /** SHA-256 of the program, 64 hexadecimal digits: what `expect.digest` takes the next time. */
  readonly digest: string;
  /**
   * What the server says that its weights are, 64 hexadecimal digits: the same as long as they and the secret of the hint are. It
   * tells nothing of them.
   */
  readonly weights: string;
  /** Name under which the server offers the model. */
  readonly model: string;
  /** Prepared inferences that the server keeps for a session. */
  readonly maxBundles: number;
  /** Inferences that are prepared; 0 while the link is lost. */
  readonly available: number;

  /**
   * Prepares inferences, so that infer() has only its online phase left.
   * @throws RangeError when `inferences` is not a positive integer, or more than the server keeps for a session, `maxBundles`
   * @throws ProtocolError `refused`, `busy`, `quota` or `draining` when the server prepares none; `lost` or `timeout` when the link is lost:
   *   the session goes on
   * @throws other ProtocolErrors: the session is over then
   * @throws AbortError when the signal fires: what is prepared until then is kept
   */
  prepare(options?: PrepareOptions): Promise<void>;

  /**
   * One private inference.
   * @param pixels - [channels, height, width] of the program's input: Float32Array in 0..1, or Uint8Array in 0..255. Where the
   *   program's input has a `limit`, a Float32Array of any numbers that keep it after mean and std (`program.input`)
   * @throws TypeError, RangeError when the pixels are not that; nothing is spent then
   * @throws ProtocolError `refused`, `busy`, `quota` or `draining` when no bundle is ready and the server prepares none; `lost` or `timeout`
   *   when the link is lost, with the bundle: the session goes on
   * @throws other ProtocolErrors: the session is over then
   * @throws AbortError when the signal fires: the bundle is spent if the inference had begun
   */
  infer(pixels: Float32Array | Uint8Array, options?: CallOptions): Promise<Inference>;

  /**
   * The likeliest classes of an image, the likeliest first.
   * @param image - a file or blob, a URL, an element that shows an image, RGBA pixels, a tensor; in Node the path of a PNG file
   * @throws TypeError when the model's result is no list of classes, or `image` is nothing that holds an image
   * @throws RangeError when an option is out of its range, or the image cannot be read
   * @throws what infer() throws
   */
  classify(image: ImageArgument, options?: ClassifyOptions): Promise<Classification[]>;

  /** Says goodbye and ends the session. A call that is still running or waiting rejects. Never rejects itself. */
  close(): Promise<void>;
}
