/** The list of what a server offers, as JSON by HTTP: what the server writes, and what a client makes of what came. */

import * as z from 'zod/mini';
import { ProtocolError } from '../errors.ts';
import { resultSize } from '../program/results.ts';
import type { Shape } from '../ring/shape.ts';
import { type Cost, costOf } from './cost.ts';
import { PROTOCOL_VERSION } from './hello.ts';
import type { Offer } from './session.ts';

/** Largest list that a client reads, in bytes: a thousand models, or the names of a hundred thousand classes. LOCAL. */
export const MAX_LISTING_BYTES: number = 4 << 20;

/** Most models that a client reads of. LOCAL. */
const MAX_MODELS = 1024;

/** What one phase of an inference moves. */
export interface PhaseBytes {
  readonly bytesUp: number;
  readonly bytesDown: number;
  /** Round trips on the critical path. */
  readonly rounds: number;
}

/** A model that a server offers. All of it is the server's word: a session checks what it can. */
export interface ListedModel {
  /** What `connect` takes as `model`. */
  readonly name: string;
  /** SHA-256 of the program, 64 hexadecimal digits: what `expect.digest` takes. */
  readonly digest: string;
  /** What the server says that its weights are, 64 hexadecimal digits: `session.weights`. */
  readonly weights: string;
  /** Of the input: [channels, height, width]. */
  readonly shape: Shape;
  /** How many numbers its result has; undefined when it has several results. */
  readonly classes: number | undefined;
  /** Names of the classes; empty when the program has none. */
  readonly labels: readonly string[];
  /** What preparing an inference moves. */
  readonly offline: PhaseBytes;
  /** What the inference itself moves. */
  readonly online: PhaseBytes;
  /** Prepared inferences that the server keeps for a session: `session.maxBundles`. */
  readonly maxBundles: number;
  /** Bytes of the model's hint, which a client gets once. */
  readonly hintBytes: number;
}

const whole = z.int().check(z.minimum(0));
const positive = z.int().check(z.minimum(1), z.maximum(0x7fffffff));
const sha256 = z.string().check(z.regex(/^[0-9a-f]{64}$/));
const name = z.string().check(z.maxLength(200));
const phase = z.object({
  bytesUp: whole,
  bytesDown: whole,
  rounds: z.number().check(z.minimum(0), z.maximum(1e6)),
});

// A later server of the same protocol may say more of a model.
const listing = z.object({
  models: z
    .array(
      z.object({
        name,
        digest: sha256,
        weights: sha256,
        shape: z.tuple([positive, positive, positive]),
        classes: z.optional(positive),
        labels: z.array(name).check(z.maxLength(100_000)),
        offline: phase,
        online: phase,
        maxBundles: whole,
        hintBytes: whole,
      }),
    )
    .check(z.minLength(1), z.maxLength(MAX_MODELS)),
});

const version = z.object({ protocol: whole });

/** What a list says of an offer. What it costs is added up each time. */
export function listedModel(
  { name, layout, hint }: Offer,
  digests: Pick<ListedModel, 'digest' | 'weights'>,
  maxBundles: number,
): ListedModel {
  const { program } = layout;
  const [result, ...others] = program.results;
  const { offline, online } = costOf(layout);
  return {
    name,
    ...digests,
    shape: program.input.shape,
    classes: others.length === 0 ? resultSize(result!.shape) : undefined,
    labels: program.labels,
    offline: bytesOf(offline),
    online: bytesOf(online),
    maxBundles,
    hintBytes: hint.bytes.length,
  };
}

function bytesOf({ up, down, rounds }: Cost['offline']): PhaseBytes {
  return { bytesUp: up, bytesDown: down, rounds };
}

/** @param models - in the order in which they are offered */
export function encodeListing(models: readonly ListedModel[]): string {
  return JSON.stringify({ protocol: PROTOCOL_VERSION, models });
}

/** @throws ProtocolError `version-mismatch` that names both versions; `bad-message` when it is no such list */
export function decodeListing(text: string): ListedModel[] {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    throw malformed('it is not JSON');
  }
  const peer = version.safeParse(document);
  if (!peer.success) throw malformed('it does not say its protocol');
  if (peer.data.protocol !== PROTOCOL_VERSION) {
    throw new ProtocolError(
      'version-mismatch',
      `the peer speaks protocol version ${peer.data.protocol}, this side version ${PROTOCOL_VERSION}`,
    );
  }
  const list = listing.safeParse(document);
  if (!list.success) {
    const [issue] = list.error.issues;
    throw malformed(`${issue!.path.join('.')}: ${issue!.message}`);
  }
  return list.data.models.map((model) => ({ ...model, classes: model.classes }));
}

function malformed(what: string): ProtocolError {
  return new ProtocolError('bad-message', `the list of models is not well formed: ${what}`);
}
