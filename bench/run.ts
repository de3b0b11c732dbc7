/** `npm run bench`: the bench command on its own. */

import { benchCommand } from './command.ts';

await benchCommand().parseAsync();
