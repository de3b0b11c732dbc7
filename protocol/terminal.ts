/** What long commands say meanwhile, on standard error. Node only. */

/** Shows where work is: on a terminal, by one line that is rewritten; elsewhere not at all. */
export function showStatus(text: string): void {
  const { isTTY, columns } = process.stderr;
  if (isTTY) process.stderr.write(`\r${text.slice(0, columns - 1)}\x1b[K`);
}

/** Says something that stays, in place of the status. */
export function say(text: string): void {
  process.stderr.write(`${process.stderr.isTTY ? '\r\x1b[K' : ''}${text}\n`);
}
