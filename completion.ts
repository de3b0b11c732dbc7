/** `sotto completion`: a script for a shell, made from the commands themselves. */

import { Argument, Command, type Option } from 'commander';

const SHELLS = ['bash', 'zsh', 'fish'] as const;
type Shell = (typeof SHELLS)[number];

/** What may stand in a place. */
interface Place {
  readonly words: readonly string[];
  /** Whether a path may. */
  readonly files: boolean;
}

/** A command as scripts know it. Its words stand in shell scripts: {@link safe} checks them. */
interface Known {
  readonly name: string;
  readonly about: string;
  readonly options: readonly {
    readonly flags: readonly string[];
    readonly about: string;
    readonly value?: Place;
  }[];
  readonly argument: Place;
}

/** @param load - all commands, and names of the models that ship */
export function completionCommand(
  load: () => Promise<{ commands: readonly Command[]; models: readonly string[] }>,
): Command {
  return new Command('completion')
    .description(
      'print a script with which a shell completes commands, options, choices, models and files',
    )
    .addArgument(new Argument('<shell>', 'the shell').choices(SHELLS))
    .action(async (shell: Shell) => {
      const { commands, models } = await load();
      process.stdout.write(completionScript(shell, commands, models));
    });
}

/** The script. */
export function completionScript(
  shell: Shell,
  commands: readonly Command[],
  models: readonly string[],
): string {
  const known = commands.map((command) => knownOf(command, models));
  return { bash, zsh, fish }[shell](known);
}

/** Values whose names say that they are paths. */
const PATHS = /[<|](FILE|PATH|FOLDER|MODEL|image|model|network)/;

function knownOf(command: Command, models: readonly string[]): Known {
  const placeOf = ({ flags, argChoices, required, optional }: Option): Place | undefined => {
    if (!required && !optional) return undefined;
    const named = flags.includes('<MODEL>') ? models : [];
    return { words: (argChoices ?? named).map(safe), files: PATHS.test(flags) };
  };
  const [argument] = command.registeredArguments;
  // Of plan and hint, which take models; others take networks.
  const isModel = argument?.description.includes('ships') ?? false;
  const help = { flags: ['--help'], about: 'display help for command' };
  return {
    name: safe(command.name()),
    about: plain(command.description()),
    options: [
      ...command.options.map((option) => {
        const value = placeOf(option);
        const flags = [option.short, option.long].filter((flag) => flag !== undefined).map(safe);
        return { flags, about: plain(option.description), ...(value && { value }) };
      }),
      help,
    ],
    argument: {
      words: (argument?.argChoices ?? (isModel ? models : [])).map(safe),
      files: PATHS.test(`<${argument?.name() ?? ''}`),
    },
  };
}

/** @throws Error for a word that a shell would read otherwise */
function safe(word: string): string {
  if (/^[\w.-]+$/.test(word)) return word;
  throw new Error(`"${word}" cannot be completed: a shell would read it otherwise`);
}

/** A description within single quotes of any of the shells, and within brackets of zsh's. */
const plain = (text: string): string => text.replace(/[[\]:\\]/g, ' ').replaceAll("'", '’');

const flagsOf = ({ options }: Known): string[] => options.flatMap(({ flags }) => flags);

function bash(commands: readonly Known[]): string {
  const offered = ({ words, files }: Place) =>
    `_sotto_offer '${words.join(' ')}' ${files ? 'files' : 'no'}; return`;
  const cases = commands.flatMap((command) => {
    const { name, argument } = command;
    const values = command.options.flatMap(({ flags, value }) =>
      value === undefined
        ? []
        : [`    ${flags.map((flag) => `'${name} ${flag}'`).join('|')}) ${offered(value)} ;;`],
    );
    return [
      ...values,
      `    '${name} '*)
      if [[ $current == -* ]]; then _sotto_offer '${flagsOf(command).join(' ')}' no; else ${offered(argument)}; fi ;;`,
    ];
  });
  return `# bash completion of sotto: source <(sotto completion bash)
_sotto_offer() {
  local word path
  for word in $1; do [[ $word == "$current"* ]] && COMPREPLY+=("$word"); done
  if [[ $2 == files ]]; then
    compopt -o filenames 2>/dev/null
    while IFS= read -r path; do COMPREPLY+=("$path"); done < <(compgen -f -- "$current")
  fi
}
_sotto() {
  local current=\${COMP_WORDS[COMP_CWORD]}
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    _sotto_offer '${[...commands.map(({ name }) => name), 'help', '--help', '--version'].join(' ')}' no
    return
  fi
  case "\${COMP_WORDS[1]} \${COMP_WORDS[COMP_CWORD - 1]}" in
${cases.join('\n')}
    'help '*) _sotto_offer '${commands.map(({ name }) => name).join(' ')}' no ;;
  esac
}
complete -F _sotto sotto
`;
}

function zsh(commands: readonly Known[]): string {
  const action = ({ words, files }: Place) => {
    const named = words.length > 0 ? `(${words.join(' ')})` : ' ';
    if (!files) return named;
    return words.length > 0
      ? `{_alternative "words\\:word\\:${named}" "files\\:file\\:_files"}`
      : '_files';
  };
  const cases = commands.map(({ name, options, argument }) => {
    const specs = options.flatMap(({ flags, about, value }) =>
      flags.map(
        (flag) => `'*${flag}[${about}]${value === undefined ? '' : `:value:${action(value)}`}'`,
      ),
    );
    return `    ${name}) _arguments ${[...specs, `'*:argument:${action(argument)}'`].join(' \\\n      ')} ;;`;
  });
  return `#compdef sotto
# zsh completion of sotto: source <(sotto completion zsh), or a file _sotto in a folder of $fpath
_sotto() {
  local -a commands=(${commands.map(({ name, about }) => `'${name}:${about}'`).join(' \\\n    ')})
  if ((CURRENT == 2)); then
    _describe command commands
    return
  fi
  local command=$words[2]
  words=("\${(@)words[2,-1]}")
  ((CURRENT--))
  case $command in
${cases.join('\n')}
  esac
}
if [[ $funcstack[1] == _sotto ]]; then _sotto "$@"; else compdef _sotto sotto; fi
`;
}

function fish(commands: readonly Known[]): string {
  const lines = commands.flatMap(({ name, about, options, argument }) => {
    const here = `complete -c sotto -n '__fish_seen_subcommand_from ${name}'`;
    const wordsOf = ({ words, files }: Place) =>
      `${words.length > 0 ? ` -a '${words.join(' ')}'` : ''}${files ? ' -F' : ' -f'}`;
    return [
      `complete -c sotto -n __fish_use_subcommand -f -a ${name} -d '${about}'`,
      `${here}${wordsOf(argument)}`,
      ...options.map(({ flags, about: what, value }) => {
        const names = flags.map((flag) =>
          flag.startsWith('--') ? `-l ${flag.slice(2)}` : `-s ${flag[1]}`,
        );
        return `${here} ${names.join(' ')}${value === undefined ? '' : ` -r${wordsOf(value)}`} -d '${what}'`;
      }),
    ];
  });
  return `# fish completion of sotto: sotto completion fish | source\n${lines.join('\n')}\n`;
}
