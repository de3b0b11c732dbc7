/** Addresses of servers. */

/** @throws TypeError when it is no address of a server */
export function checkUrl(url: string): void {
  if (!/^wss?:\/\/[^/#][^#]*$/.test(url) || !isUrl(url)) {
    throw new TypeError(`url: expected ws://HOST:PORT or wss://HOST:PORT, got "${place(url)}"`);
  }
}

/** A URL as errors show it: its query may hold a token. */
export const place = (url: string): string => url.split('?', 1)[0]!;

/** `URL.canParse`, which Firefox 114 and Safari 16.4 have not got. */
function isUrl(text: string): boolean {
  try {
    new URL(text);
    return true;
  } catch {
    return false;
  }
}
