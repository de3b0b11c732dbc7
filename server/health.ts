/** Whether the server works, and whether it takes sessions, to whoever asks by HTTP: GET /healthz and GET /readyz. */

import type { RequestHandler } from './demo.ts';

/** What is asked. */
export interface Watched {
  /** Whether a worker does a task, before all that waits. Never rejects. */
  healthy(): Promise<boolean>;
  /** Why it takes no sessions at this moment; undefined when it does. */
  unready(): string | undefined;
}

/** How long an answer to /healthz serves all who ask, in ms: asking is no way to load the server. LOCAL. */
const HELD_MS = 1000;

const headers: Readonly<Record<string, string>> = {
  'content-type': 'text/plain; charset=utf-8',
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
};

/** Answers both, 200 or 503 with one sentence, and leaves all other requests to `next`. */
export function healthRequests(watched: Watched, next: RequestHandler): RequestHandler {
  let held: Promise<boolean> | undefined;
  const ask = (): Promise<boolean> => {
    if (held === undefined) {
      held = watched.healthy();
      const release = (): void => {
        held = undefined;
      };
      void held.then(() => setTimeout(release, HELD_MS).unref());
    }
    return held;
  };
  const answers: Readonly<Record<string, () => Promise<string | undefined>>> = {
    '/healthz': async () =>
      (await ask()) ? undefined : "none of the server's threads does a task in time",
    '/readyz': async () => watched.unready(),
  };
  return async (request, response) => {
    const answer = answers[request.url?.split('?', 1)[0] ?? ''];
    if (answer === undefined) {
      next(request, response);
      return;
    }
    const { method } = request;
    const say = (status: number, text: string): void => {
      response.writeHead(status, headers);
      response.end(method === 'HEAD' ? undefined : `${text}\n`);
    };
    if (method !== 'GET' && method !== 'HEAD') {
      response.setHeader('allow', 'GET, HEAD');
      say(405, 'This is only read.');
      return;
    }
    const trouble = await answer();
    say(trouble === undefined ? 200 : 503, trouble ?? 'ok');
  };
}
