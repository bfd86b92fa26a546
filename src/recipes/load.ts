import { readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { messageOf, VolbakError } from '../core/errors.ts';
import { nearest } from '../core/nearest.ts';
import { parseRecipe } from './parse.ts';
import type { RecipeFile } from './schema.ts';

export interface Recipe extends RecipeFile {
  /** Its file's name without the extension. */
  name: string;
  file: string;
  /** The file as it is, comments included. */
  text: string;
}

/** Where the built-in recipes lie: beside src/ and dist/. */
const DIRECTORY = fileURLToPath(new URL('../../recipes/', import.meta.url));
const EXTENSION = /\.ya?ml$/;

async function readRecipe(file: string): Promise<Recipe> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    throw new VolbakError('CONFIG', `recipe ${file} cannot be read: ${messageOf(error)}`, {
      hint: '`volbak recipes` lists the built-in ones; a file needs its path.',
      cause: error,
    });
  }
  return { ...parseRecipe(text, file), name: basename(file).replace(EXTENSION, ''), file, text };
}

/** All built-in recipes, by name. */
export async function builtInRecipes(): Promise<Recipe[]> {
  const names = (await readdir(DIRECTORY)).filter((name) => EXTENSION.test(name)).sort();
  return Promise.all(names.map((name) => readRecipe(join(DIRECTORY, name))));
}

/** A built-in recipe by its name, or the one in a file. Raises CONFIG. */
export async function loadRecipe(nameOrFile: string): Promise<Recipe> {
  if (nameOrFile.includes('/') || EXTENSION.test(nameOrFile)) return readRecipe(nameOrFile);
  const all = await builtInRecipes();
  const found = all.find(({ name, aliases }) => name === nameOrFile || aliases.includes(nameOrFile));
  if (found) return found;
  const known = all.flatMap(({ name, aliases }) => [name, ...aliases]);
  const meant = nearest(nameOrFile, known);
  throw new VolbakError('CONFIG', `there is no recipe '${nameOrFile}'`, {
    hint: meant === undefined ? `There are ${known.join(', ')}.` : `Did you mean '${meant}'?`,
  });
}
