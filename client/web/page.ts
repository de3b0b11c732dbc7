/**
 * The demo page: an image, a model of the server that serves the page, a private answer, and what the server saw.
 *
 * `?server=wss://HOST:PORT` in the page's address asks another server; it must offer the same models.
 */

import { ringsOf } from '../../protocol/program/rings.ts';
import { unpack } from '../../protocol/ring/packing.ts';
import {
  connect,
  createPool,
  ProtocolError,
  type Session,
  type SessionProgress,
} from '../browser.ts';
import { bytesText, timeText } from '../progress.ts';
import { Drawing } from './drawing.ts';
import { fetchExamples, fetchModels, type ModelSummary, ofDigits, showModels } from './models.ts';
import { LongestPause, runRow, showChart, verdictOf } from './results.ts';
import { correlation, observing, paint } from './seen.ts';

const element = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T;
const buttons = {
  prepare: element<HTMLButtonElement>('prepare'),
  classify: element<HTMLButtonElement>('classify'),
  cancel: element<HTMLButtonElement>('cancel'),
};

const server =
  new URLSearchParams(location.search).get('server') ??
  location.origin.replace(/^http/, 'ws') + location.pathname.replace(/[^/]*$/, '');
const pool = createPool();
const longest = new LongestPause();

/** Images to try, by the part of a model's name in front of its budget. */
let images: Readonly<Record<string, readonly string[]>> = {};
let model: ModelSummary | undefined;
let session: Session | undefined;
/** Ends the call that runs. */
let running: AbortController | undefined;
/** What left the browser in place of the image. */
let masked: Uint8Array | undefined;

const drawing = new Drawing(element('drawing'), update);

/** Shows what can be done now. */
function update(): void {
  const busy = running !== undefined;
  buttons.prepare.disabled = busy || model === undefined;
  buttons.classify.disabled = busy || model === undefined || drawing.empty;
  buttons.cancel.hidden = !busy;
  element<HTMLFieldSetElement>('models').disabled = busy;
  element('invite').hidden = !drawing.empty;
  element('available').textContent = String(session?.available ?? 0);
  element('digest').textContent = session?.digest ?? 'not connected yet';
}

const phases = {
  connect: 'Connecting',
  setup: 'Making keys',
  hint: 'Fetching the hint',
  prepare: 'Preparing',
  infer: 'Answering',
  done: 'Done',
} as const;

function showProgress({ phase, layer, done, total, bytes, bytesTotal }: SessionProgress): void {
  if (phase === 'done') return;
  element<HTMLProgressElement>('bar').value = done / total;
  // A hint may come beside the session's channel.
  const [moving, all] = phase === 'hint' ? [done, total] : [bytes, bytesTotal];
  const moved = all === undefined ? '' : `: ${bytesText(moving)} of ${bytesText(all)}`;
  const where = layer === undefined ? '' : `, layer ${layer}`;
  element('status').textContent = `${phases[phase]}${moved}${where}`;
}

function tell(text: string): void {
  element('status').textContent = text;
}

function showError(text: string | undefined): void {
  element('error').textContent = text ?? '';
  element('error').hidden = text === undefined;
}

/** The session with the chosen model: the one there is, or a new one. */
async function openSession(signal: AbortSignal): Promise<Session> {
  const { name } = model!;
  if (session?.model === name) return session;
  await session?.close();
  session = undefined;
  session = await connect(server, {
    model: name,
    pool,
    signal,
    onProgress: showProgress,
    decorate: (channel) =>
      observing(channel, (sent) => {
        masked = sent;
      }),
  });
  return session;
}

/** Runs a call of a session, with everything the page shows meanwhile. */
async function run(work: (session: Session, signal: AbortSignal) => Promise<void>): Promise<void> {
  running = new AbortController();
  const { signal } = running;
  showError(undefined);
  longest.reset();
  update();
  try {
    const idle = session;
    try {
      await work(await openSession(signal), signal);
    } catch (error) {
      // The server may have closed a session that rested, or been started anew: that session is over, not the wish.
      const lost = error instanceof ProtocolError && error.code === 'closed';
      if (!lost || idle === undefined || idle !== session) throw error;
      session = undefined;
      await work(await openSession(signal), signal);
    }
  } catch (error) {
    await session?.close();
    session = undefined;
    element<HTMLProgressElement>('bar').value = 0;
    if (signal.aborted) tell('Cancelled. What was prepared is thrown away.');
    else {
      tell('');
      showError(explain(error as Error));
    }
  } finally {
    running = undefined;
    element('longest').textContent = `${longest.ms.toFixed(0)} ms`;
    update();
  }
}

function explain(error: Error): string {
  const again = 'What was prepared is thrown away; try again to reconnect.';
  return error instanceof ProtocolError ? `${error.message}. ${again}` : error.message;
}

async function prepare(): Promise<void> {
  await run(async (session, signal) => {
    const inferences = Number(element<HTMLSelectElement>('count').value);
    await session.prepare({ inferences, signal });
    const { available } = session;
    tell(
      `${available} ${available === 1 ? 'inference is' : 'inferences are'} ready: only the image is missing.`,
    );
  });
}

async function classify(): Promise<void> {
  const chosen = model!;
  const pixels = drawing.pixels(chosen.shape, ofDigits(chosen));
  if (pixels === undefined) {
    showError('There is nothing on the image.');
    return;
  }
  await run(async (session, signal) => {
    const result = await session.infer(pixels, { signal });
    const { label, logits, stats } = result;
    const verdict = verdictOf(result);
    tell(`Answered in ${timeText(stats.online.ms)}.`);
    element<HTMLProgressElement>('bar').value = 1;
    element('verdict').textContent = verdict;
    showChart(element('chart'), session.program.labels, logits, label);
    showSeen(chosen, pixels, ringsOf(session.program)[0]!);
    const runs = element('runs');
    runs.querySelector('.hint')?.closest('tr')?.remove();
    runs.prepend(runRow(chosen, verdict, stats));
  });
}

/** @param bits of a number that was sent */
function showSeen({ shape }: ModelSummary, pixels: Float32Array, bits: number): void {
  const sent = unpack(masked!, pixels.length, bits);
  paint(element('input'), shape, (i) => 255 * pixels[i]!);
  paint(element('masked'), shape, (i) => (sent[i]! << (32 - bits)) >>> 24);
  // Rounded first, so that nothing is called minus zero.
  const common = String(Math.round(100 * correlation(pixels, sent)) / 100).replace('-', '−');
  element('seen-text').textContent =
    `${sent.length.toLocaleString('en')} numbers of ${bits} bits, each one uniformly random to the server; the picture shows ` +
    `their upper 8 bits. Their correlation with your image is ${common}. Classify the same image again: other numbers, same answer.`;
  const numbers = element('numbers');
  numbers.textContent = `${Array.from(sent.subarray(0, 8), (word) => (word >>> 0).toString(16).padStart(Math.ceil(bits / 4), '0')).join(' ')} …`;
  numbers.hidden = false;
}

function choose(chosen: ModelSummary): void {
  model = chosen;
  element('invite').textContent = ofDigits(chosen) ? 'Draw a digit' : 'Drop an image';
  const examples = element('examples');
  examples.replaceChildren();
  const [family] = chosen.name.split('-') as [string];
  for (const name of images[family] ?? []) examples.append(exampleButton(family, name));
  tell('Preparing needs no image: do it ahead of time, and the answer comes at once.');
  update();
}

function exampleButton(family: string, name: string): HTMLButtonElement {
  const button = document.createElement('button');
  button.type = 'button';
  const image = document.createElement('img');
  image.src = `examples/${family}/${name}`;
  image.alt = `Example: ${name.replace('.png', '').replace('-', ' ')}`;
  image.width = image.height = 28;
  button.append(image);
  button.addEventListener('click', () => void open(image.src));
  return button;
}

async function open(source: Blob | string): Promise<void> {
  showError(undefined);
  try {
    await drawing.open(source);
  } catch (error) {
    showError((error as Error).message);
  }
}

buttons.prepare.addEventListener('click', () => void prepare());
buttons.classify.addEventListener('click', () => void classify());
buttons.cancel.addEventListener('click', () => running?.abort());
element('clear').addEventListener('click', () => drawing.clear());

const file = element<HTMLInputElement>('file');
file.addEventListener('change', () => {
  if (file.files?.[0]) void open(file.files[0]);
  file.value = '';
});

const drop = element('drop');
for (const type of ['dragover', 'drop'] as const) {
  // Anywhere else a dropped file would replace the page.
  window.addEventListener(type, (event) => event.preventDefault());
}
window.addEventListener('dragover', () => drop.classList.add('over'));
window.addEventListener('dragleave', () => drop.classList.remove('over'));
window.addEventListener('drop', (event) => {
  drop.classList.remove('over');
  const dropped = event.dataTransfer?.files[0];
  if (dropped) void open(dropped);
});

element('server').textContent = server;
const memory = globalThis.crossOriginIsolated ? 'shared' : 'separate';
element('workers').textContent = `${pool.workers} web workers, ${memory} memory`;
try {
  const models = await fetchModels();
  images = await fetchExamples();
  showModels(element('models'), models, choose);
  if (models[0] !== undefined) choose(models[0]);
} catch (error) {
  showError((error as Error).message);
}
