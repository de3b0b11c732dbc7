/** The worker of the thread pool's tests, which does not load any more once a variable is set. */

if (process.env['SOTTO_TEST_BROKEN']) throw new Error('it is broken by now');

export { run } from './pool-worker.mjs';
