/**
 * The demo page: an image, a model of the server that serves the page, a private answer, and what the server saw.
 *
 * `?server=wss://HOST:PORT` in the page's address asks another server; it must offer the same models. What follows its # says
 * which model and example are shown (link.ts).
 */

import { ringsOf } from '../../protocol/program/rings.ts';
import type { Inference, Session, SessionProgress } from '../browser.ts';
import { bytesText, timeText } from '../progress.ts';
import { forget, settlePicture, showAnswer, showLeaving, showSeen } from './answer.ts';
import { Camera } from './camera.ts';
import { Drawing } from './drawing.ts';
import { button, element } from './elements.ts';
import { faultText } from './faults.ts';
import { readView, viewHash } from './link.ts';
import {
  aboutText,
  budgetsOf,
  budgetsText,
  bySubject,
  comparisonsOf,
  comparisonsText,
  type Examples,
  fetchExamples,
  fetchModels,
  fillModels,
  ofDigits,
  type ShownModel,
  showMix,
  subjectOf,
} from './models.ts';
import { type Lap, secondAnswer, showLaps } from './race.ts';
import { LongestPause, runRow, verdictOf } from './results.ts';
import { Sessions } from './sessions.ts';
import { showMessages, Wire } from './wire.ts';

const select = element<HTMLSelectElement>('models');

const server =
  new URLSearchParams(location.search).get('server') ??
  location.origin.replace(/^http/, 'ws') + location.pathname.replace(/[^/]*$/, '');
const wire = new Wire(() => drawSoon());
const sessions = new Sessions(server, wire, showProgress);
const longest = new LongestPause();
const drawing = new Drawing(element('drawing'), pictureChanged);
const camera = new Camera(element('video'));
const calm = matchMedia('(prefers-reduced-motion: reduce)');

let images: readonly Examples[] = [];
let models: readonly ShownModel[] = [];
let groups: readonly (readonly ShownModel[])[] = [];
let model: ShownModel | undefined;
/** The example that is shown; undefined for pictures of the visitor's. */
let sample: string | undefined;

/** Two models that may run against each other, what they are called then, and how they differ. */
interface Race {
  /** Of the part of the page that shows it; others begin with that. */
  readonly id: string;
  readonly contenders: (chosen: ShownModel) => readonly [ShownModel, ShownModel] | undefined;
  readonly names: (...contenders: readonly [ShownModel, ShownModel]) => readonly [string, string];
  readonly text: (...contenders: readonly [ShownModel, ShownModel]) => string;
}

const races: readonly Race[] = [
  {
    id: 'budgets',
    contenders: (chosen) => budgetsOf(chosen, groups.find((group) => group.includes(chosen))!),
    names: (most, fewest) => [most.name, fewest.name],
    text: budgetsText,
  },
  {
    id: 'comparisons',
    contenders: (chosen) => comparisonsOf(chosen, models),
    names: () => ['Half gates', 'Encoded'],
    text: comparisonsText,
  },
];

/** Images to try with a model. */
const imagesFor = (chosen: ShownModel): Examples | undefined =>
  images.find((some) => subjectOf(some) === subjectOf(chosen));

/** Shows what can be done now. */
function update(): void {
  const { busy } = sessions;
  const ready = !busy && model !== undefined;
  button('prepare').disabled = !ready;
  for (const id of ['classify', ...races.map(({ id }) => `${id}-start`)]) {
    button(id).disabled = !ready || drawing.empty;
  }
  if (busy) swap('classify', 'cancel');
  else swap('cancel', 'classify');
  select.disabled = !ready;
  // An answer is for the picture that is shown.
  for (const id of ['drop', 'examples', 'sources']) element(id).inert = busy;
  button('clear').textContent = drawing.opened || camera.on ? 'Draw' : 'Clear';
  button('camera').textContent = camera.on ? 'Take it' : 'Camera';
  element('invite').hidden = !drawing.empty || camera.on;
  element('available').textContent = String(sessions.available);
  element('digest').textContent = sessions.digest ?? 'not connected yet';
}

/** Shows a button in the place of another, and hands it the focus. */
function swap(from: string, to: string): void {
  button(to).hidden = false;
  if (document.activeElement === button(from)) button(to).focus();
  button(from).hidden = true;
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
  tell(`${phases[phase]}${moved}${where}`, phases[phase]);
}

/** @param said - what a screen reader says of it: less, where the text changes many times a second */
function tell(text: string, said = text): void {
  element('status').textContent = text;
  if (element('said').textContent !== said) element('said').textContent = said;
}

function showError(text: string | undefined): void {
  element('error').textContent = text ?? '';
  element('error').hidden = text === undefined;
}

let drawn = true;

/** Draws the wire once before the browser shows its next frame. */
function drawSoon(): void {
  if (!drawn) return;
  drawn = false;
  requestAnimationFrame(() => {
    drawn = true;
    drawWire();
  });
}

function drawWire(): void {
  const traffic = wire.traffic;
  if (traffic === undefined || model === undefined) return;
  const [up, down] = [bytesText(traffic.bytesSent), bytesText(traffic.bytesReceived)];
  element('up').textContent = up;
  element('down').textContent = down;
  element('rounds').textContent = String(traffic.roundTrips);
  element('traffic').textContent = `↑ ${up} ↓ ${down}`;
  if (sessions.busy && calm.matches) return;
  showMessages(element('messages'), wire.messages);
  if (!sessions.busy) return;
  showLeaving(model, wire.leaving);
}

/** Another picture: what was answered was not for it. */
function pictureChanged(): void {
  if (!drawing.opened) sample = undefined;
  forget();
  element<HTMLProgressElement>('bar').value = 0;
  tell('Recognise sends noise, not the picture.', '');
  showLink();
  update();
}

type Open = (model: string) => Promise<Session>;

/** Runs calls of sessions, with everything the page shows meanwhile. */
async function run(work: (open: Open, signal: AbortSignal) => Promise<void>): Promise<void> {
  showError(undefined);
  longest.reset();
  const running = sessions.run(work);
  update();
  try {
    if (!(await running)) tell('Cancelled.');
  } catch (error) {
    element<HTMLProgressElement>('bar').value = 0;
    tell('');
    showError(faultText(error as Error, navigator.onLine));
  } finally {
    settlePicture();
    drawWire();
    element('longest').textContent = `${longest.ms.toFixed(0)} ms`;
    update();
  }
}

async function prepare(): Promise<void> {
  const { name } = model!;
  await run(async (open, signal) => {
    const session = await open(name);
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
    showError('There is nothing on the picture. Draw on it, or pick an example.');
    return;
  }
  forget();
  await run(async (open, signal) => {
    const session = await open(chosen.name);
    const result = await session.infer(pixels, { signal });
    tell(`Answered in ${timeText(result.stats.online.ms)}.`);
    element<HTMLProgressElement>('bar').value = 1;
    showAnswer(chosen, result);
    showSeen(chosen, pixels, wire.masked!, ringsOf(session.program)[0]!);
    addRun(chosen, result);
  });
}

async function race({ id, contenders: contendersOf, names }: Race): Promise<void> {
  const contenders = contendersOf(model!)!;
  const called = names(...contenders);
  const pixels = drawing.pixels(contenders[0].shape, ofDigits(contenders[0]));
  if (pixels === undefined) return;
  forget();
  await run(async (open, signal) => {
    const laps: Lap[] = [];
    for (const [i, contender] of contenders.entries()) {
      const session = await open(contender.name);
      const result = await secondAnswer(session, pixels, signal);
      laps.push({ name: called[i]!, model: contender, result });
      showSeen(contender, pixels, wire.masked!, ringsOf(session.program)[0]!);
      addRun(contender, result);
    }
    showLaps(element(`${id}-lanes`), laps);
    tell('Both have answered.');
  });
}

function addRun(ran: ShownModel, result: Inference): void {
  const runs = element('runs');
  runs.querySelector('.hint')?.closest('tr')?.remove();
  runs.prepend(runRow(ran, verdictOf(result), result.stats));
}

function choose(name: string): void {
  const chosen = groups.flat().find((one) => one.name === name) ?? groups[0]?.[0];
  if (chosen === undefined) return;
  const moved = model === undefined || subjectOf(model) !== subjectOf(chosen);
  model = chosen;
  select.value = chosen.name;
  element('about').textContent = aboutText(chosen);
  showMix(element('mix'), chosen);
  if (moved) {
    const { folder, files } = imagesFor(chosen) ?? { folder: '', files: [] };
    element('examples').replaceChildren(...files.map((file) => exampleButton(folder, file)));
  }
  for (const { id, contenders, text } of races) {
    const both = contenders(chosen);
    const shown = both === undefined ? '' : text(...both);
    element(id).hidden = both === undefined;
    // What was run stays as long as it is of the same two.
    if (element(`${id}-text`).textContent !== shown) element(`${id}-lanes`).replaceChildren();
    element(`${id}-text`).textContent = shown;
  }
  element('races').hidden = races.every(({ id }) => element(id).hidden);
  pictureChanged();
}

const bare = (file: string) => file.replace(/\.png$/, '');

function exampleButton(folder: string, file: string): HTMLButtonElement {
  const example = document.createElement('button');
  example.type = 'button';
  const image = document.createElement('img');
  image.src = `examples/${folder}/${file}`;
  image.alt = `Example: ${bare(file).replace('-', ' ')}`;
  image.width = image.height = 28;
  example.append(image);
  example.addEventListener('click', () => void open(image.src, bare(file)));
  return example;
}

/** @param name - of an example */
async function open(source: ImageBitmap | Blob | string, name?: string): Promise<void> {
  if (sessions.busy) return;
  showError(undefined);
  camera.stop();
  try {
    if (!(await drawing.open(source))) return;
    sample = name;
    showLink();
  } catch (error) {
    showError(faultText(error as Error, true));
  }
  update();
}

function showLink(): void {
  const hash = viewHash({ model: model?.name, sample });
  const link = element<HTMLAnchorElement>('link');
  // Browsers take only so many of these a minute, and a pen makes many.
  if (link.getAttribute('href') === hash) return;
  link.href = hash;
  history.replaceState(null, '', hash);
}

/** Shows an example for the model, the first one where there is none of that name, and an empty picture where there is none at all. */
async function showExample(wanted?: string): Promise<void> {
  if (model === undefined) return;
  const { folder, files } = imagesFor(model) ?? { folder: '', files: [] };
  const file = files.find((name) => bare(name) === wanted) ?? files[0];
  if (file === undefined) drawing.clear();
  else await open(`examples/${folder}/${file}`, bare(file));
}

/** Shows what the address asks for; what it does not say is the first there is. */
async function showView(hash: string): Promise<void> {
  if (sessions.busy) return;
  const view = readView(hash);
  choose(view.model ?? '');
  await showExample(view.sample);
}

/** Another model; where it knows other things than the one before, another example with it. */
async function changeModel(): Promise<void> {
  const before = model!;
  choose(select.value);
  if (sample !== undefined && subjectOf(before) !== subjectOf(model!)) await showExample();
}

async function useCamera(): Promise<void> {
  showError(undefined);
  try {
    if (camera.on) await open(await camera.take());
    else {
      await camera.start();
      // What was drawn or opened is not what is seen now.
      drawing.clear();
    }
  } catch (error) {
    showError((error as Error).message);
  }
  update();
}

function listen(): void {
  button('prepare').addEventListener('click', () => void prepare());
  button('classify').addEventListener('click', () => void classify());
  for (const one of races) {
    button(`${one.id}-start`).addEventListener('click', () => void race(one));
  }
  button('cancel').addEventListener('click', () => sessions.cancel());
  button('camera').addEventListener('click', () => void useCamera());
  button('clear').addEventListener('click', () => {
    camera.stop();
    drawing.clear();
  });
  select.addEventListener('change', () => void changeModel());
  const file = element<HTMLInputElement>('file');
  file.addEventListener('change', () => {
    if (file.files?.[0]) void open(file.files[0]);
    file.value = '';
  });
  window.addEventListener('paste', ({ clipboardData }) => {
    if (clipboardData?.files[0]) void open(clipboardData.files[0]);
  });
  // Not the address as it is by now: an example that was being opened may have put its own there.
  window.addEventListener('hashchange', ({ newURL }) => void showView(new URL(newURL).hash));
  window.addEventListener('offline', () => tell('This browser is offline.'));
  window.addEventListener('online', () => tell('This browser is online again.'));
  // A camera that nobody sees is off.
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) camera.stop();
    update();
  });
}

function listenForDrops(): void {
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
}

listen();
listenForDrops();
element('server').textContent = server;
const memory = globalThis.crossOriginIsolated ? 'shared' : 'separate';
element('workers').textContent = `${sessions.workers} web workers, ${memory} memory`;
try {
  models = await fetchModels();
  groups = bySubject(models);
  images = await fetchExamples();
  fillModels(select, groups);
  await showView(location.hash);
} catch (error) {
  showError(faultText(error as Error, navigator.onLine));
}
