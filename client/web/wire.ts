/** What passes between this browser and the server: counts, the latest messages, and the picture's place among them. */

import { type CountedChannel, counted, type Traffic } from '../../protocol/channel/counted.ts';
import { Decorator } from '../../protocol/channel/decorator.ts';
import type { Channel } from '../../protocol/channel/index.ts';
import { Kind } from '../../protocol/inference/messages.ts';
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

/** Watches the channel of one session at a time. */
export class Wire {
  #channel: CountedChannel | undefined;
  #messages: Message[] = [];
  readonly #changed: () => void;
  /** The masked input as it left last: packed numbers, ringsOf(program)[0] bits each. */
  masked: Uint8Array | undefined;
  /** How the longer message that left last begins. */
  leaving: Uint8Array = new Uint8Array();

  /** @param changed - called for every message */
  constructor(changed: () => void) {
    this.#changed = changed;
  }

  /** Watches a channel from its beginning, in place of the one before. */
  watch(channel: Channel): Channel {
    this.#messages = [];
    this.#channel = counted(channel);
    return new Watcher(this.#channel, (up, kind, payload) => this.#saw(up, kind, payload));
  }

  /** What the session has moved. */
  get traffic(): Traffic | undefined {
    return this.#channel?.snapshot();
  }

  /** The latest messages, the last one first. */
  get messages(): readonly Message[] {
    return this.#messages;
  }

  #saw(up: boolean, kind: number, payload: Uint8Array): void {
    if (up && kind === Kind.maskedInput) this.masked = payload.slice();
    if (up && payload.length >= LEAST_PICTURE) this.leaving = payload.slice(0, PICTURE_BYTES);
    const head = hexadecimal(payload.subarray(0, HEAD_BYTES));
    const name = names.get(kind) ?? String(kind);
    this.#messages.unshift({ up, name, bytes: payload.length, head });
    this.#messages.length = Math.min(this.#messages.length, SHOWN);
    this.#changed();
  }
}

/**
 * Shows every frame to `saw` (up: it leaves this browser), which keeps copies alone: a payload belongs to the channel once it is
 * sent, and to the session once it is received.
 */
class Watcher extends Decorator {
  readonly #saw: (up: boolean, kind: number, payload: Uint8Array) => void;

  constructor(channel: Channel, saw: (up: boolean, kind: number, payload: Uint8Array) => void) {
    super(channel);
    this.#saw = saw;
  }

  override send(kind: number, payload: Uint8Array): Promise<void> {
    this.#saw(true, kind, payload);
    return super.send(kind, payload);
  }

  override async receive(kind: number, bytes: number): Promise<Uint8Array> {
    const payload = await super.receive(kind, bytes);
    this.#saw(false, kind, payload);
    return payload;
  }

  override async receiveUpTo(kind: number, limit: number): Promise<Uint8Array> {
    const payload = await super.receiveUpTo(kind, limit);
    this.#saw(false, kind, payload);
    return payload;
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
