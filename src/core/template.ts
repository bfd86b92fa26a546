const PLACE = /\{\{\s*([^{}]*?)\s*\}\}/g;

/** Names that a template has places for: `{{name}}`. */
export function templateNames(template: string): string[] {
  return [...template.matchAll(PLACE)].map((match) => match[1] as string);
}

/** Puts values where `{{name}}` stands; what has no value stays as it is. Values are not looked into. */
export function fillTemplate(template: string, values: Readonly<Record<string, string>>): string {
  return template.replace(
    PLACE,
    (place, name: string) => (Object.hasOwn(values, name) ? values[name] : place) as string,
  );
}
