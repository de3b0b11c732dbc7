/**
 * The demo page: the built files of client/web from memory, and what the offered models are. Nothing else is served, and
 * nothing a visitor sends is kept.
 */

import { readdir, readFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Cost, costOf } from '../protocol/inference/cost.ts';
import { countKinds, type KindCounts } from '../protocol/program/kinds.ts';
import type { OfferedModel } from './models.ts';

/** What people want to know of a model that its program does not say. */
export interface ModelCard {
  /** One line: what it classifies. */
  readonly about?: string | undefined;
  /** Share of test images it classifies rightly, 0..1. */
  readonly accuracy?: number | undefined;
  /** What its logits are divided by before a softmax, so that probabilities hold. */
  readonly temperature?: number | undefined;
  /** The name of the offered model that this one is with half gates for comparison: the page shows what either takes. */
  readonly halfGatesOf?: string | undefined;
}

/** A model as the page's list of models, /models.json, describes it; its activation elements by kind. */
export interface ModelSummary extends ModelCard, KindCounts {
  readonly name: string;
  readonly labels: readonly string[];
  /** [channels, height, width]. */
  readonly shape: readonly [number, number, number];
  /** Bytes of its hint, once a browser. */
  readonly hint: Cost['hint'];
  readonly offline: Cost['offline'];
  readonly online: Cost['online'];
}

/** Answers requests for the page. */
export type RequestHandler = (request: IncomingMessage, response: ServerResponse) => void;

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
};

/**
 * What every answer says besides its bytes: the page is isolated from other origins, so that its workers may share memory, and
 * loads no code from elsewhere. It connects, and gets hints, where its visitor asks it to.
 */
const headers: Readonly<Record<string, string>> = {
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-embedder-policy': 'require-corp',
  'cross-origin-resource-policy': 'same-origin',
  'content-security-policy':
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self'; " +
    "img-src 'self' blob: data:; connect-src 'self' ws: wss: http: https:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'cache-control': 'no-cache',
};

/** Where the built page lies, beside the built server. */
const BUILT = fileURLToPath(new URL('../web/', import.meta.url));

/**
 * Loads the page.
 * @param cards - by name of the model
 * @throws Error with one sentence when the page has not been built
 */
export async function loadDemo(
  offers: ReadonlyMap<string, OfferedModel>,
  cards: ReadonlyMap<string, ModelCard> = new Map(),
  folder: string = BUILT,
): Promise<RequestHandler> {
  const files = new Map<string, { bytes: Uint8Array; type: string }>();
  let names: string[];
  try {
    names = await readdir(folder, { recursive: true });
  } catch (cause) {
    throw new Error(`the demo page is not in ${folder}: build it first`, { cause });
  }
  for (const name of names) {
    const type = types[extname(name)];
    if (type === undefined) continue;
    files.set(`/${name.replaceAll('\\', '/')}`, {
      bytes: await readFile(`${folder}/${name}`),
      type,
    });
  }
  files.set('/', files.get('/index.html')!);
  files.set('/how', files.get('/how.html')!);
  const list = modelList(offers, cards);

  return (request, response) => {
    const path = request.url?.split('?', 1)[0] ?? '';
    const reads = request.method === 'GET' || request.method === 'HEAD';
    const file = !reads ? undefined : path === '/models.json' ? list() : files.get(path);
    if (file === undefined) {
      response.writeHead(reads ? 404 : 405, { ...headers, 'content-type': 'text/plain' });
      response.end(reads ? 'There is no such page.\n' : 'Pages are only read.\n');
      return;
    }
    const { bytes, type } = file;
    response.writeHead(200, { ...headers, 'content-type': type, 'content-length': bytes.length });
    response.end(request.method === 'HEAD' ? undefined : bytes);
  };
}

/** /models.json at this moment. What a model costs is added up once. */
function modelList(
  offers: ReadonlyMap<string, OfferedModel>,
  cards: ReadonlyMap<string, ModelCard>,
): () => { bytes: Uint8Array; type: string } {
  const known = new WeakMap<OfferedModel, ModelSummary>();
  const summary = (offer: OfferedModel): ModelSummary => {
    const own = known.get(offer) ?? summaryOf(offer);
    known.set(offer, own);
    return { ...own, ...cards.get(offer.name) };
  };
  return () => {
    const models = [...offers.values()].map(summary);
    const bytes = new TextEncoder().encode(JSON.stringify(models));
    return { bytes, type: types['.json']! };
  };
}

function summaryOf({ name, layout }: OfferedModel): ModelSummary {
  const { program, activations } = layout;
  const { hint, offline, online } = costOf(layout);
  return {
    name,
    labels: program.labels,
    shape: program.input.shape,
    ...countKinds(...activations.map(({ step }) => step.kinds)),
    hint,
    offline,
    online,
  };
}
