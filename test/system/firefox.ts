/**
 * A second real browser for tests: Firefox of the system, driven by WebDriver BiDi, for playwright drives only builds of
 * Firefox that are patched for it.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { WebSocket } from 'ws';
import { within } from './support.ts';

const places = [
  process.env['SOTTO_FIREFOX'],
  '/usr/bin/firefox-esr',
  '/usr/bin/firefox',
  '/Applications/Firefox.app/Contents/MacOS/firefox',
];
const executable = places.find((path) => path !== undefined && existsSync(path));

/** Why tests in Firefox are skipped, if they are. */
export const noFirefox: string | undefined =
  executable === undefined
    ? 'there is no Firefox (package firefox-esr of Debian; SOTTO_FIREFOX names another)'
    : undefined;

type Params = Readonly<Record<string, unknown>>;

interface Reply {
  readonly id?: number;
  readonly type: 'success' | 'error' | 'event';
  readonly method?: string;
  readonly params?: { readonly level?: string; readonly text?: string; readonly source: Params };
  readonly result?: unknown;
  readonly error?: string;
  readonly message?: string;
}

/** What a script left behind, as BiDi puts it; scripts here return strings. */
interface Evaluated {
  readonly type: 'success' | 'exception';
  readonly result?: { readonly value?: string };
  readonly exceptionDetails?: { readonly text: string };
}

/** A fresh browser with a profile in a temporary folder. */
export async function openFirefox(): Promise<Firefox> {
  const profile = mkdtempSync(join(tmpdir(), 'sotto-firefox-'));
  const child = spawn(
    executable!,
    ['--headless', '--no-remote', '--profile', profile, '--remote-debugging-port', '0'],
    { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, HOME: profile } },
  );
  try {
    const url = await within(60_000, addressOf(child));
    const socket = new WebSocket(`${url}/session`);
    await within(10_000, once(socket, 'open'));
    const firefox = new Firefox(child, profile, socket);
    await firefox.ask('session.new', { capabilities: {} });
    await firefox.ask('session.subscribe', { events: ['log.entryAdded'] });
    return firefox;
  } catch (error) {
    child.kill('SIGKILL');
    rmSync(profile, { recursive: true, force: true });
    throw error;
  }
}

/** Where it listens, which it says once it runs. */
async function addressOf(child: ChildProcess): Promise<string> {
  const said: string[] = [];
  for await (const line of createInterface({ input: child.stderr! })) {
    const [, url] = /WebDriver BiDi listening on (ws:\S+)/.exec(line) ?? [];
    if (url !== undefined) {
      child.stderr!.resume();
      return url;
    }
    said.push(line);
  }
  throw new Error(`Firefox ended before it listened: ${said.join('\n')}`);
}

export class Firefox {
  readonly #child: ChildProcess;
  readonly #profile: string;
  readonly #socket: WebSocket;
  readonly #calls = new Map<number, (reply: Reply) => void>();
  readonly #pages = new Map<string, FirefoxPage>();
  #asked = 0;

  constructor(child: ChildProcess, profile: string, socket: WebSocket) {
    this.#child = child;
    this.#profile = profile;
    this.#socket = socket;
    socket.on('message', (data) => this.#hear(JSON.parse(String(data))));
    socket.on('close', () => {
      for (const answer of this.#calls.values()) {
        answer({ type: 'error', message: 'the browser is gone' });
      }
    });
  }

  /** One command of BiDi. */
  async ask(method: string, params: Params): Promise<unknown> {
    const id = ++this.#asked;
    const reply = await new Promise<Reply>((resolve) => {
      this.#calls.set(id, resolve);
      this.#socket.send(JSON.stringify({ id, method, params }));
    });
    this.#calls.delete(id);
    if (reply.type === 'error') throw new Error(`${method}: ${reply.error}: ${reply.message}`);
    return reply.result;
  }

  async newPage(): Promise<FirefoxPage> {
    const { context } = (await this.ask('browsingContext.create', { type: 'tab' })) as {
      context: string;
    };
    const page = new FirefoxPage(this, context);
    this.#pages.set(context, page);
    return page;
  }

  async close(): Promise<void> {
    const ended = once(this.#child, 'close');
    await within(10_000, this.ask('browser.close', {})).catch(() => this.#child.kill('SIGKILL'));
    await ended;
    rmSync(this.#profile, { recursive: true, force: true });
  }

  #hear(reply: Reply): void {
    if (reply.id !== undefined) this.#calls.get(reply.id)?.(reply);
    else if (reply.method === 'log.entryAdded' && reply.params?.level === 'error') {
      this.#pages.get(String(reply.params.source['context']))?.errors.push(reply.params.text ?? '');
    }
  }
}

/** A tab, with the few calls of playwright's pages that tests use. */
export class FirefoxPage {
  /** What it said to the console as errors, and what it threw. */
  readonly errors: string[] = [];
  readonly #firefox: Firefox;
  readonly #context: string;

  constructor(firefox: Firefox, context: string) {
    this.#firefox = firefox;
    this.#context = context;
  }

  /** Goes to an address, and waits until all of the page is loaded. */
  async goto(url: string): Promise<void> {
    const params = { context: this.#context, url, wait: 'complete' };
    await this.#firefox.ask('browsingContext.navigate', params);
  }

  /** What a function returns in the page, waited for; it and its argument go there as text. */
  evaluate<R>(work: () => R | Promise<R>): Promise<R>;
  evaluate<A, R>(work: (argument: A) => R | Promise<R>, argument: A): Promise<R>;
  async evaluate<R>(work: (argument: never) => R | Promise<R>, argument?: unknown): Promise<R> {
    const call = `(${work})(${JSON.stringify(argument)})`;
    const outcome = (await this.#firefox.ask('script.evaluate', {
      expression: `(async () => JSON.stringify([await ${call}]))()`,
      target: { context: this.#context },
      awaitPromise: true,
    })) as Evaluated;
    if (outcome.type === 'exception') throw new Error(outcome.exceptionDetails?.text);
    return (JSON.parse(outcome.result!.value!) as [R])[0];
  }

  async close(): Promise<void> {
    await this.#firefox.ask('browsingContext.close', { context: this.#context });
  }
}
