/**
 * Quotas: what a principal may ask for within a window of time, which begins with the first that is counted and is then
 * over at once. Counted in this process, or in a Redis or Valkey that several share.
 *
 * A request is counted whole or not at all. In a shared store a script decides that, so that processes that ask at once get
 * together exactly what the quota has.
 */

import type { Redis } from 'ioredis';
import { RateLimiterMemory, RateLimiterRedis, type RateLimiterRes } from 'rate-limiter-flexible';
import { ProtocolError } from '../protocol/errors.ts';
import type { AllowQuery, ServerEvent, Who } from './limits.ts';

/** What each principal may have; what is left out is not limited. */
export interface Quotas {
  /** Inferences that are prepared, each of which is one answer at most. */
  readonly answersPerDay?: number | undefined;
  /** Sessions that begin. */
  readonly sessionsPerHour?: number | undefined;
  /** Bytes both ways that preparing and running these inferences takes; the hint is not counted. */
  readonly bytesPerDay?: number | undefined;
  /** Where they are counted: redis://HOST:PORT or rediss://, for several processes; default: in this one. */
  readonly store?: string | undefined;
}

/** Quotas at work. */
export interface QuotaCounters {
  /**
   * Counts a session.
   * @throws ProtocolError `quota` when there are no more for now, or the store does not count
   */
  readonly session: (who: Who) => Promise<void>;
  /** Counts queries, as allowQuery is asked; a store that does not count allows none. */
  readonly allowQuery: AllowQuery;
  readonly close: () => Promise<void>;
}

/** Counts in windows of time, by key. */
interface Counter {
  /**
   * Counts points where all of them fit.
   * @returns undefined when they are counted, else the seconds until the window is over, 0 when they will not fit then either
   * @throws Error when the store does not answer
   */
  take(key: string, points: number): Promise<number | undefined>;
  /** Takes back points that were counted just now. */
  giveBack(key: string, points: number): Promise<unknown>;
}

/** Largest quota: beyond 2^52, numbers that come from a store lose their last bit. */
const MOST = 1e15;

const HOUR = 3600;
const DAY = 24 * HOUR;

/** How long a store may take to connect, and for one command, in ms. LOCAL. */
const STORE_MS = { connect: 5000, command: 2000 };

/**
 * Counts what fits, and answers as the library's own script does, which counts what does not fit as well. What is given back is
 * at most what is there: the window may be over. (`-counted` could be -0, which is no number to Redis.)
 */
export const SCRIPT = `
redis.call('set', KEYS[1], 0, 'EX', ARGV[2], 'NX')
local counted = tonumber(redis.call('get', KEYS[1]))
local points = math.max(tonumber(ARGV[1]), 0 - counted)
local most = tonumber(ARGV[3])
if points > 0 and counted + points > most then
  return {most + 1, redis.call('pttl', KEYS[1])}
end
return {redis.call('incrby', KEYS[1], string.format('%.0f', points)), redis.call('pttl', KEYS[1])}
`;

/** Counts what fits; the library's own counts what does not fit as well. */
class Memory extends RateLimiterMemory {
  override async consume(key: string, points: number): Promise<RateLimiterRes> {
    try {
      return await super.consume(key, points);
    } catch (refused) {
      await this.reward(key, points);
      throw refused;
    }
  }
}

/**
 * @throws RangeError when a quota is not an integer from 1 to 10^15, or the store's URL not one of Redis
 * @throws Error when the store cannot be reached, or the package that speaks to it is not installed
 */
export async function openQuotas(
  quotas: Quotas,
  onEvent: (event: ServerEvent) => void,
): Promise<QuotaCounters> {
  const { answersPerDay, sessionsPerHour, bytesPerDay, store } = quotas;
  for (const [name, most] of Object.entries({ answersPerDay, sessionsPerHour, bytesPerDay })) {
    if (most !== undefined && !(Number.isInteger(most) && most >= 1 && most <= MOST)) {
      throw new RangeError(`quotas.${name}: expected an integer from 1 to ${MOST}, got ${most}`);
    }
  }
  const redis = store === undefined ? undefined : await openStore(store);
  const counter = (name: string, most: number | undefined, seconds: number) =>
    most === undefined ? undefined : counterOf(redis, name, most, seconds);
  const sessions = counter('sessions', sessionsPerHour, HOUR);
  const answers = counter('answers', answersPerDay, DAY);
  const bytes = counter('bytes', bytesPerDay, DAY);
  const failing = ({ session, address, port, principal }: Who, error: unknown): void => {
    const message = `quotas.store: ${(error as Error).message}`;
    onEvent({ type: 'uncounted', session, address, port, principal, message });
  };
  return {
    async session(who) {
      let wait: number | undefined;
      try {
        wait = await sessions?.take(who.principal, 1);
      } catch (error) {
        failing(who, error);
        throw new ProtocolError('quota', 'sessions cannot be counted now, try again later');
      }
      if (wait === undefined) return;
      const what = `the server opens no more sessions of this client for ${wait} s`;
      throw new ProtocolError('quota', what, { retryAfterMs: 1000 * wait });
    },
    async allowQuery(query) {
      const { principal, inferences } = query;
      try {
        let wait = await answers?.take(principal, inferences);
        if (wait === undefined) {
          wait = await bytes?.take(principal, query.bytes);
          if (wait !== undefined) await answers?.giveBack(principal, inferences);
        }
        return wait === undefined || { retryAfterSeconds: wait };
      } catch (error) {
        failing(query, error);
        return false;
      }
    },
    close: async () => redis?.disconnect(),
  };
}

/** A counter with `most` points in each window, in the store if there is one. */
function counterOf(redis: Redis | undefined, name: string, most: number, seconds: number): Counter {
  const options = { keyPrefix: `sotto:${name}`, points: most, duration: seconds };
  const limiter =
    redis === undefined
      ? new Memory(options)
      : new RateLimiterRedis({ ...options, storeClient: redis, customIncrTtlLuaScript: SCRIPT });
  return {
    async take(key, points) {
      try {
        await limiter.consume(key, points);
        return undefined;
      } catch (refused) {
        // The library rejects with an error when the store fails, else with what is left.
        if (refused instanceof Error) throw refused;
        const { msBeforeNext } = refused as RateLimiterRes;
        return points > most ? 0 : Math.max(1, Math.ceil(msBeforeNext / 1000));
      }
    },
    giveBack: (key, points) => limiter.reward(key, points),
  };
}

/** A connection to a store, which connects again by itself; while it is down, commands fail at once. */
async function openStore(store: string): Promise<Redis> {
  const url = URL.canParse(store) ? new URL(store) : undefined;
  if (url === undefined || !/^rediss?:$/.test(url.protocol)) {
    throw new RangeError('quotas.store: expected redis://HOST:PORT or rediss://HOST:PORT');
  }
  const { Redis: Client } = await import('ioredis').catch((cause) => {
    throw new Error('quotas.store needs the package ioredis, which is not installed', { cause });
  });
  const redis = new Client(store, {
    lazyConnect: true,
    connectTimeout: STORE_MS.connect,
    commandTimeout: STORE_MS.command,
    enableOfflineQueue: false,
    // One that was sent may have been counted.
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
  });
  // Each command that fails says so.
  let reason: Error | undefined;
  redis.on('error', (error) => {
    reason = error;
  });
  try {
    await redis.connect();
    await redis.ping();
  } catch (error) {
    redis.disconnect();
    // Without the password that the URL may hold.
    const what = `quotas.store: ${url.host} cannot be reached: ${(reason ?? (error as Error)).message}`;
    throw new Error(what, { cause: error });
  }
  return redis;
}
