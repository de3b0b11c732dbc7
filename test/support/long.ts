/** The long campaigns behind SOTTO_LONG: all of them with 1, or some by name, as in SOTTO_LONG=churn,killed. */

/** What each does when it runs in full. */
export const CAMPAIGNS = {
  churn: '15 minutes of 16 clients that come, prepare, ask, abort, lose their link and come back',
  killed: 'a server is killed at 200 points',
  vanished: 'a link dies without a word, over ws and wss',
  views: 'the views of comparisons and ReLUs, all pairs of shares',
  encodings: 'the encoding of comparisons, exhausted without gaps',
  programs: 'many more random programs, and layers that are grouped',
  networks:
    'a thousand test images a published network, fifty of them in private, and 500 inferences of digits',
  compiler: 'many more random graphs through the compiler',
  onnx: 'all ONNX networks in private, and 10,000 damaged files',
  install: 'the packages through webpack, React and Next',
  flips: 'changed bits of every frame of a session',
} as const;

/**
 * Is a campaign to run in full?
 * @throws RangeError when SOTTO_LONG names one that there is not
 */
export function isLong(campaign: keyof typeof CAMPAIGNS): boolean {
  const asked = process.env['SOTTO_LONG'] ?? '';
  if (asked === '' || asked === '1') return asked === '1';
  const names = asked.split(',');
  const unknown = names.find((name) => !Object.hasOwn(CAMPAIGNS, name));
  if (unknown === undefined) return names.includes(campaign);
  throw new RangeError(
    `SOTTO_LONG: there is no campaign "${unknown}"; expected 1 for all, or some of ${Object.keys(CAMPAIGNS).join(',')}`,
  );
}
