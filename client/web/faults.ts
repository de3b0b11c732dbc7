/** What went wrong, and what would help, in sentences for a visitor. */

import { ProtocolError } from '../browser.ts';

/** What helps against an error of the protocol. */
const advice: Partial<Record<ProtocolError['code'], string>> = {
  unreachable: 'It may have stopped or be starting anew: try again to reconnect.',
  lost: 'It may have stopped or be starting anew: try again to reconnect.',
  timeout: 'The link may be slow or broken: try again to reconnect.',
  busy: 'Try again in a minute, or choose another model.',
  refused: 'Choose another model.',
  draining: 'It may come back: try again in a minute.',
  'version-mismatch': 'This page and the server are of different versions: reload the page.',
  'program-mismatch': 'The server has changed this model: reload the page.',
};

/**
 * An error as sentences.
 * @param online - whether the browser has a network at all
 */
export function faultText(error: Error, online: boolean): string {
  if (!online) return 'This browser is offline. Connect it to a network, then try again.';
  if (!(error instanceof ProtocolError)) return `${error.message}.`.replace(/\.\.$/, '.');
  const { code, message, retryAfterMs } = error;
  const helps =
    code === 'quota'
      ? `You have used what it answers one visitor: try again ${waitText(retryAfterMs)}.`
      : (advice[code] ?? 'Try again to reconnect.');
  return `${message[0]!.toUpperCase()}${message.slice(1)}. ${helps}${goesOn(error) ? '' : ' What was prepared is thrown away.'}`;
}

/** Whether a session goes on after an error: the server has refused to begin something, or the link was lost. */
const goesOn = ({ code, retryable }: ProtocolError): boolean => retryable || code === 'refused';

function waitText(ms: number | undefined): string {
  if (!ms) return 'later';
  const minutes = Math.ceil(ms / 60_000);
  return minutes < 120 ? `in ${minutes} min` : `in ${Math.ceil(minutes / 60)} hours`;
}

/** Why there is no picture from a camera. */
export function cameraFault(error: Error | undefined): string {
  const instead = 'Open a file or draw instead.';
  switch (error?.name) {
    case undefined:
      return `Browsers give the camera only to pages that come over https. ${instead}`;
    case 'NotAllowedError':
      return `This browser does not allow the camera here; its settings for this page can. ${instead}`;
    case 'NotFoundError':
      return `This device has no camera. ${instead}`;
    case 'NotReadableError':
      return `The camera is in use by another program. ${instead}`;
    default:
      return `The camera gives no picture: ${error?.message}. ${instead}`;
  }
}
