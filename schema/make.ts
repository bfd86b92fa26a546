// Writes recipe.schema.json, by which editors check recipes: npm run schema
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { recipeJsonSchema } from '../src/recipes/schema.ts';

const file = join(import.meta.dirname, 'recipe.schema.json');
writeFileSync(file, `${JSON.stringify(recipeJsonSchema(), null, 2)}\n`);
