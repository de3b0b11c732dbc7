/** What passes between this browser and the server: counts, the latest messages, and the picture's place among them. */

import { Kind } from '../../protocol/inference/messages.ts';
import type { Traffic, WireMessage } from '../browser.ts';
import { bytesText } from '../progress.ts';

/** Messages that are shown at a time. */
const SHOWN = 7;

/** Bytes of a message that are shown as numbers, and that are kept to be shown as a picture. */
const HEAD_BYTES = 12;
const PICTURE_BYTES = 3 * 32 * 32;

/** Shorter messages, commands and seals, are no picture. */
const LEAST_PICTURE = 256;

const names = new Map<number, string>(
  Object.entries(Kind).map(([name, kind]) => [kind, name.replace(/[A-Z]/, ' $&').toLowerCase()]),
);

interface Message {
  readonly up: boolean;
  readonly name: string;
  readonly bytes: number;
  /** How it begins, in hexadecimal. */
  readonly head: string;
}

/** What one session at a time sends and gets. */
export class Wire {
  #messages: Message[] = [];
  #traffic: Traffic | undefined;
  readonly #changed: () => void;
  /** The masked input as it left last: packed numbers, ringsOf(program)[0] bits each. */
  masked: Uint8Array | undefined;
  /** How the longer message that left last begins. */
  leaving: Uint8Array = new Uint8Array();

  /** @param changed - called for every message */
  constructor(changed: () => void) {
    this.#changed = changed;
  }

  /** Begins with another session. */
  clear(): void {
    this.#messages = [];
    this.#traffic = undefined;
  }

  /** What the session has moved. */
  get traffic(): Traffic | undefined {
    return this.#traffic;
  }

  /** The latest messages, the last one first. */
  get messages(): readonly Message[] {
    return this.#messages;
  }

  take({ sent, kind, payload, traffic }: WireMessage): void {
    this.#traffic = traffic;
    if (sent && kind === Kind.maskedInput) this.masked = payload;
    if (sent && payload.length >= LEAST_PICTURE) this.leaving = payload.slice(0, PICTURE_BYTES);
    const head = hexadecimal(payload.subarray(0, HEAD_BYTES));
    const name = names.get(kind) ?? String(kind);
    this.#messages.unshift({ up: sent, name, bytes: payload.length, head });
    this.#messages.length = Math.min(this.#messages.length, SHOWN);
    this.#changed();
  }
}

function hexadecimal(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(' ');
}

/** Fills a list with messages, a line each. */
export function showMessages(list: HTMLElement, messages: readonly Message[]): void {
  list.replaceChildren(
    ...messages.map(({ up, name, bytes, head }) => {
      const item = document.createElement('li');
      item.className = up ? 'up' : 'down';
      const parts = [up ? '↑ sent' : '↓ got', name, bytesText(bytes), head];
      item.append(
        ...parts.map((text) => {
          const part = document.createElement('span');
          part.textContent = text;
          return part;
        }),
      );
      return item;
    }),
  );
}
