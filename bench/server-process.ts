/** A Sotto server in a process of its own: what a client waits for is then what a client really waits for. */

import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export interface ServerProcess {
  /** ws://127.0.0.1:PORT */
  readonly url: string;
  /** Resolves when the process has ended. */
  stop(): Promise<void>;
}

/**
 * Runs `sotto serve` on a free port of this machine.
 * @param model - path of a `.sotto` file
 * @throws Error with what the server said when it does not start
 */
export async function startServer(model: string): Promise<ServerProcess> {
  const cli = fileURLToPath(new URL('../cli.js', import.meta.url));
  const args = [cli, 'serve', '--model', model, '--port', '0', '--json'];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  const exited = new Promise<void>((resolve) => {
    child.once('close', () => resolve());
  });
  return {
    url: await listeningUrl(child),
    async stop() {
      child.kill();
      await exited;
    },
  };
}

/** Waits for the server's first event. Later lines are read as well: a full pipe would stop it. */
function listeningUrl(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    const complaints: string[] = [];
    child.once('error', reject);
    child.once('close', () => {
      reject(new Error(`the server did not start: ${complaints.join(' ') || 'it said nothing'}`));
    });
    createInterface({ input: child.stderr! }).on('line', (line) => {
      const event = line.startsWith('{') ? JSON.parse(line) : undefined;
      if (event?.type === 'listening') resolve(event.url);
      else if (event === undefined) complaints.push(line);
    });
  });
}
