const SECRET_KEY = /pass(word|wd)?$|secret|token|credential/i;
export const MASK = '***';

/**
 * Driver options without the secrets in them: whole values of keys that name one, and `password=…` parts inside a
 * mount option string. `masked` names the keys that a restore must be given anew (`--driver-opt`).
 */
export function maskSecrets(options: Record<string, string>): {
  options: Record<string, string>;
  masked: string[];
} {
  const masked: string[] = [];
  const shown = Object.entries(options).map(([key, value]) => {
    const safe = SECRET_KEY.test(key) ? MASK : value.split(',').map(maskPart).join(',');
    if (safe !== value) masked.push(key);
    return [key, safe] as const;
  });
  return { options: Object.fromEntries(shown), masked };
}

function maskPart(part: string): string {
  const equals = part.indexOf('=');
  return equals > 0 && SECRET_KEY.test(part.slice(0, equals)) ? `${part.slice(0, equals)}=${MASK}` : part;
}
