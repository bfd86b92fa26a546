// Writes the JSON schemas by which editors check recipes and volbak.yaml: npm run schema
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { configJsonSchema } from '../src/config/schema.ts';
import { recipeJsonSchema } from '../src/recipes/schema.ts';

function write(name: string, schema: object): void {
  writeFileSync(join(import.meta.dirname, name), `${JSON.stringify(schema, null, 2)}\n`);
}

write('recipe.schema.json', recipeJsonSchema());
write('volbak.schema.json', configJsonSchema());
