/**
 * One bit changed on the way, anywhere in a session: in a header, in the setup, in a bundle, in an answer or in a seal. Both
 * parties are the real ones, in one process, and everything random comes from the same seeds each time.
 *
 * What may happen: the client's call ends with a ProtocolError of one of the codes below, and so does the server's session.
 * Never an answer, never silence, and never an error of ours that is no ProtocolError. Damage to the goodbye and its
 * seal comes late: the client has its answer by then, the right one, and the server ends the session.
 */

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { Endpoint, type Transport } from '../../protocol/channel/endpoint.ts';
import { FRAME_HEADER_BYTES, joinFrame } from '../../protocol/channel/frames.ts';
import type { Channel } from '../../protocol/channel/index.ts';
import { ProtocolError } from '../../protocol/errors.ts';
import { decodeModel, type Model } from '../../protocol/program/model.ts';
import { integers } from '../support/damage.ts';
import { isLong } from '../support/long.ts';
import { LocalServer, openLocal, somePixels, tinyModel, within } from './support.ts';

/** SOTTO_LONG=flips changes bits of every frame: of a small network all bits of each header. */
const long = isLong('flips');

const WAYS = ['to the server', 'to the client'] as const;
type Way = 0 | 1;

/** Codes of what finds a changed bit. */
const CODES = new Set([
  // Headers, and what has a form: control messages, lengths that follow from numbers, residues and ternaries in range.
  'bad-message',
  // The base OTs.
  'bad-point',
  // Hello and welcome: version, digest of the agreement, k of the OTs or name of the model.
  'version-mismatch',
  'refused',
  // The program, which is checked before it is used.
  'program-mismatch',
  // All else.
  'corrupted',
]);

/** Sends frames to the endpoint of the other side, as `change` leaves them. */
class Wire implements Transport {
  peer!: Endpoint;
  readonly #change: (frame: Uint8Array) => void;

  constructor(change: (frame: Uint8Array) => void) {
    this.#change = change;
  }

  write(header: Uint8Array, payload: Uint8Array): boolean {
    const frame = joinFrame(header, payload);
    this.#change(frame);
    this.peer.deliver(frame);
    return true;
  }

  pause(): boolean {
    return true;
  }

  resume(): void {}

  close(): void {
    this.peer.ended(new ProtocolError('lost', 'the peer closed the channel'));
  }
}

/** A connection whose frames, header and payload in one piece, `change` may change. */
function changedPair(change: (frame: Uint8Array, way: Way, index: number) => void): Channel[] {
  const counts = [0, 0];
  const wires = ([0, 1] as const).map(
    (way) => new Wire((frame) => change(frame, way, counts[way]!++)),
  );
  const ends = wires.map((wire) => new Endpoint(wire));
  wires[0]!.peer = ends[1]!;
  wires[1]!.peer = ends[0]!;
  return ends;
}

/** Which bit of which frame. */
interface Flip {
  readonly way: Way;
  readonly index: number;
  readonly bit: number;
}

/** What came of a session: what the client ended with, and the server. */
interface Outcome {
  readonly answer?: string;
  readonly error?: unknown;
  readonly served: readonly string[];
}

class Trials {
  readonly #pixels: Float32Array;
  readonly #server: LocalServer;
  #change: Parameters<typeof changedPair>[0] = () => {};
  /** Bytes of each frame of the undamaged session, by direction. */
  readonly frames: [number[], number[]] = [[], []];
  #right: string | undefined;

  constructor(model: Model) {
    this.#pixels = somePixels(model);
    this.#server = new LocalServer([{ name: 'model', model }], {
      pair: () => changedPair((...args) => this.#change(...args)) as [Channel, Channel],
    });
  }

  async #session(): Promise<Outcome> {
    this.#server.events.length = 0;
    const run = async () => {
      const session = await openLocal(this.#server.accept());
      const { logits, label } = await session.infer(this.#pixels);
      await session.close();
      return [label, ...(logits ?? [])].join();
    };
    const outcome = await within(
      10_000,
      run().then(
        (answer) => ({ answer }),
        (error: unknown) => ({ error }),
      ),
    );
    await this.#server.settled();
    return { ...outcome, served: this.#server.of('error').map(({ code }) => code) };
  }

  /** The session without damage, twice: it is the same each time. */
  async begin(): Promise<void> {
    this.#change = ({ length }, way) => this.frames[way].push(length);
    const first = await this.#session();
    this.#change = () => {};
    expect(await this.#session()).toEqual(first);
    expect(first).toMatchObject({ answer: expect.any(String), served: [] });
    this.#right = first.answer;
  }

  /** A session with one bit changed; gives the code of what came of it. */
  async expectFound({ way, index, bit }: Flip): Promise<string> {
    let done = false;
    this.#change = (frame, frameWay, frameIndex) => {
      if (done || frameWay !== way || frameIndex !== index) return;
      frame[bit >> 3]! ^= 1 << (bit & 7);
      done = true;
    };
    const { answer, error, served } = await this.#session();
    const where = `bit ${bit} of frame ${index} ${WAYS[way]}: ${error ?? answer}, ${served}`;
    expect(done, where).toBe(true);
    if (way === 0 && index >= this.frames[0].length - 2) {
      expect(answer, where).toBe(this.#right);
      return 'goodbye';
    }
    expect(answer, where).toBe(undefined);
    expect(error, where).toBeInstanceOf(ProtocolError);
    const { code } = error as ProtocolError;
    expect(CODES, where).toContain(code);
    // One has found it, the other was told.
    expect(served, where).toEqual([code]);
    return code;
  }

  /** A bit of a random frame, in one of four of its header. */
  random(next: (limit: number) => number): Flip {
    const way = next(2) as Way;
    const index = next(this.frames[way].length);
    const bytes = next(4) === 0 ? FRAME_HEADER_BYTES : this.frames[way][index]!;
    return { way, index, bit: next(8 * bytes) };
  }

  /** So many random bits of each header and of each payload, all where it has no more. */
  all([ofHeader, ofPayload]: readonly [number, number], next: (limit: number) => number): Flip[] {
    const headerBits = 8 * FRAME_HEADER_BYTES;
    const some = (from: number, count: number, wanted: number): number[] => {
      const bits = new Set<number>();
      while (bits.size < Math.min(wanted, count)) bits.add(from + next(count));
      return [...bits];
    };
    return ([0, 1] as const).flatMap((way) =>
      this.frames[way].flatMap((length, index) =>
        [
          ...some(0, headerBits, ofHeader),
          ...some(headerBits, 8 * length - headerBits, ofPayload),
        ].map((bit) => ({ way, index, bit })),
      ),
    );
  }
}

function digits(): Model {
  return decodeModel(readFileSync(new URL('../../models/zoo/digits.sotto', import.meta.url)));
}

// A session of digits takes several times as long as one of a few elements with the same kinds of frames: most trials are of
// that one.
describe.each([
  ['a small network', () => tinyModel(), 200, [128, 400]],
  ['a small network that reveals the label', () => tinyModel('label'), 40, [8, 64]],
  ['digits', digits, 40, [4, 16]],
] as const)('one changed bit in a session of %s', (_, make, trials, each) => {
  it(`is found, wherever it is (${long ? 'all frames' : `${trials} places; all frames with SOTTO_LONG=flips`})`, async () => {
    const session = new Trials(make());
    await session.begin();
    const next = integers(2027);
    const flips = long
      ? session.all(each, next)
      : Array.from({ length: trials }, () => session.random(next));
    const codes: Record<string, number> = {};
    for (const flip of flips) {
      const code = await session.expectFound(flip);
      codes[code] = (codes[code] ?? 0) + 1;
    }
    console.log(`${flips.length} changed bits: ${JSON.stringify(codes)}`);
    expect(codes['corrupted']).toBeGreaterThan(0);
  }, 3_600_000);
});
