import type { Command } from 'commander';
import type { Recipe } from '../../recipes/load.ts';
import type { Register } from '../program.ts';
import type { Runtime } from '../runtime.ts';

export function define(program: Command, register: Register): void {
  const command = program
    .command('recipes')
    .description('list the recipes for handle, backup, migrate and drill, or show one')
    .argument('[name or file]', 'the recipe to show');
  register(command, ({ output }, [name]) => (name === undefined ? list(output) : show(output, name)));
}

async function list(output: Runtime['output']): Promise<number> {
  const { builtInRecipes } = await import('../../recipes/load.ts');
  const { table } = await import('../render/table.ts');
  const recipes = await builtInRecipes();
  output.document(
    recipes.map(({ name, aliases, about, file, ...recipe }) => ({
      name,
      aliases,
      about,
      for: uses(recipe),
      file,
    })),
  );
  const rows = recipes.map((recipe) => [
    [recipe.name, ...recipe.aliases].join(', '),
    uses(recipe).join(', '),
    recipe.about,
  ]);
  for (const line of table(['NAME', 'FOR', 'ABOUT'], rows)) output.line(line);
  return 0;
}

/** Commands that a recipe is for. */
function uses({ handler, backup, drill }: Pick<Recipe, 'handler' | 'backup' | 'drill'>): string[] {
  return [
    ...(handler ? ['handle'] : []),
    ...(backup ? ['backup', 'migrate'] : []),
    ...(drill ? ['drill'] : []),
  ];
}

/** The file as it is, as its comments say how to use it. */
async function show(output: Runtime['output'], nameOrFile: string): Promise<number> {
  const { loadRecipe } = await import('../../recipes/load.ts');
  const { text, ...recipe } = await loadRecipe(nameOrFile);
  output.document(recipe);
  output.line(text.trimEnd());
  return 0;
}
