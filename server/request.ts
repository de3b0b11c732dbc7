/** What is known of a client before it has said anything: its HTTP request, and where that comes from. */

import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { BlockList, isIP, SocketAddress } from 'node:net';

/** The request with which a client asks for a WebSocket. All of it but `address` is what the client says. */
export interface ConnectionRequest {
  /** Path and query, such as `/?token=...`. */
  readonly url: string;
  /** By lower-case name. */
  readonly headers: IncomingHttpHeaders;
  /** Where it comes from, trusted proxies left out; IPv6 in its shortest form, IPv4 in IPv6 as IPv4. */
  readonly address: string;
  /** Its TCP port, or the last proxy's. */
  readonly port: number | undefined;
  /** The page that asks, as browsers state it; undefined for other programs. */
  readonly origin: string | undefined;
}

/** @param proxies - may say in X-Forwarded-For whom they speak for; undefined: none */
export function requestOf(
  message: IncomingMessage,
  proxies: BlockList | undefined,
): ConnectionRequest {
  const { url = '/', headers } = message;
  const peer = canonical(message.socket.remoteAddress ?? '') ?? 'unknown';
  const address = proxies === undefined ? peer : clientOf(peer, headers, proxies);
  return { url, headers, address, port: message.socket.remotePort, origin: headers.origin };
}

/**
 * Each proxy appends the address that it was asked from: read from the right, what stands there is true as long as the one who
 * wrote it is trusted. What the client wrote itself stands further to the left.
 */
function clientOf(peer: string, headers: IncomingHttpHeaders, proxies: BlockList): string {
  // Node joins several headers of this name, in their order.
  const stated = String(headers['x-forwarded-for'] ?? '').split(',');
  let address = peer;
  while (stated.length > 0 && isTrusted(address, proxies)) {
    const next = canonical(stated.pop()!.trim());
    if (next === undefined) break;
    address = next;
  }
  return address;
}

function isTrusted(address: string, proxies: BlockList): boolean {
  const family = isIP(address);
  return family !== 0 && proxies.check(address, family === 4 ? 'ipv4' : 'ipv6');
}

/** One spelling for each address: limits and quotas count by it. */
function canonical(text: string): string | undefined {
  const family = isIP(text);
  if (family === 0) return undefined;
  if (family === 4) return text;
  const { address } = new SocketAddress({ address: text, family: 'ipv6' });
  return /^::ffff:(\d+\.\d+\.\d+\.\d+)$/.exec(address)?.[1] ?? address;
}

/**
 * Proxies that are trusted, by address or CIDR such as `10.0.0.0/8`.
 * @throws RangeError that names the one that is neither
 */
export function proxiesOf(entries: readonly string[]): BlockList {
  const list = new BlockList();
  for (const entry of entries) {
    const [, address = '', prefix] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(entry) ?? [];
    const family = isIP(address);
    const bits = family === 4 ? 32 : 128;
    const length = prefix === undefined ? bits : Number(prefix);
    if (family === 0 || length > bits) {
      throw new RangeError(
        `trustProxies: expected an address or a CIDR such as 10.0.0.0/8, got "${entry}"`,
      );
    }
    list.addSubnet(address, length, family === 4 ? 'ipv4' : 'ipv6');
  }
  return list;
}

/**
 * Origins as browsers state them: scheme, host and port, in lower case and without the scheme's own port.
 * @throws RangeError that names the one that is none
 */
export function originsOf(urls: readonly string[]): ReadonlySet<string> {
  return new Set(
    urls.map((text) => {
      const url = URL.canParse(text) ? new URL(text) : undefined;
      // Nothing but an origin, written in any way.
      if (url && /^https?:$/.test(url.protocol) && url.href === `${url.origin}/`) return url.origin;
      throw new RangeError(`origins: expected one such as https://example.com, got "${text}"`);
    }),
  );
}
