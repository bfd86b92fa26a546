import type { Command } from 'commander';
import { VolbakError } from '../../core/errors.ts';
import type { Register } from '../program.ts';

interface Words {
  commands: { name: string; description: string; options: string[] }[];
  globals: string[];
}

export function define(program: Command, register: Register): void {
  const command = program
    .command('completion')
    .description('print a completion script')
    .argument('<shell>', 'bash, zsh or fish');
  register(command, async (runtime, [shell = '']) => {
    const script = SCRIPTS[shell];
    if (!script)
      throw new VolbakError('USAGE', `no completion for '${shell}'`, {
        hint: 'There is one for bash, zsh and fish.',
      });
    const text = script(wordsOf(program));
    if (runtime.output.json) runtime.output.document({ shell, script: text });
    else for (const line of text.trimEnd().split('\n')) runtime.output.line(line);
    return 0;
  });
}

function optionsOf(command: Command): string[] {
  return command.options
    .flatMap((option) => (option.hidden ? [] : [option.long ?? option.short ?? '']))
    .filter((name) => name !== '');
}

function wordsOf(program: Command): Words {
  const commands = program.commands.flatMap((command) =>
    [command.name(), ...command.aliases()].map((name) => ({
      name,
      description: command.description(),
      options: optionsOf(command),
    })),
  );
  return { commands, globals: optionsOf(program) };
}

function bash({ commands, globals }: Words): string {
  const cases = commands
    .map(({ name, options }) => `    ${name}) words="${options.join(' ')}" ;;`)
    .join('\n');
  return `# volbak completion bash; use: source <(volbak completion bash)
_volbak() {
  local current=\${COMP_WORDS[COMP_CWORD]} command= words= word
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case $word in ${commands.map(({ name }) => name).join('|')}) command=$word; break ;; esac
  done
  case $command in
${cases}
    *) words="${commands.map(({ name }) => name).join(' ')}" ;;
  esac
  if [[ $current == -* ]]; then
    COMPREPLY=($(compgen -W "$words ${globals.join(' ')}" -- "$current"))
  elif [[ -z $command ]]; then
    COMPREPLY=($(compgen -W "$words" -- "$current"))
  else
    COMPREPLY=($(compgen -f -- "$current"))
  fi
}
complete -F _volbak volbak
`;
}

function quote(text: string): string {
  return text.replaceAll("'", "'\\''");
}

function zsh({ commands, globals }: Words): string {
  const list = commands.map(({ name, description }) => `    '${name}:${quote(description)}'`).join('\n');
  const cases = commands
    .map(({ name, options }) => `    ${name}) compadd -- ${[...options, ...globals].join(' ')} ;;`)
    .join('\n');
  return `#compdef volbak
# volbak completion zsh; use: source <(volbak completion zsh)
_volbak() {
  local -a commands
  commands=(
${list}
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  if [[ $words[CURRENT] != -* ]]; then
    _files
    return
  fi
  case $words[2] in
${cases}
  esac
}
compdef _volbak volbak
`;
}

function fish({ commands, globals }: Words): string {
  const lines = commands.flatMap(({ name, description, options }) => [
    `complete -c volbak -n __fish_use_subcommand -f -a ${name} -d '${quote(description)}'`,
    ...options.map(
      (option) => `complete -c volbak -n '__fish_seen_subcommand_from ${name}' -l ${option.slice(2)}`,
    ),
  ]);
  return `# volbak completion fish; use: volbak completion fish | source
${lines.join('\n')}
${globals.map((option) => `complete -c volbak -l ${option.slice(2)}`).join('\n')}
`;
}

const SCRIPTS: Record<string, (words: Words) => string> = { bash, zsh, fish };
