import { parseYamlFile } from '../core/yaml-file.ts';
import { type RecipeFile, recipeJsonSchema, recipeSchema } from './schema.ts';

/** Reads a recipe; `file` is for messages. Raises CONFIG, which names line, column and what was most likely meant. */
export function parseRecipe(text: string, file: string): RecipeFile {
  return parseYamlFile(text, file, {
    schema: recipeSchema,
    jsonSchema: recipeJsonSchema,
    hint: 'schema/recipe.schema.json describes recipes; `volbak recipes <name>` shows one.',
  });
}
