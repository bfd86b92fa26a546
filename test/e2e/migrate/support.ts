import { cleanupEngine, docker, engines, mountpoint } from '../../support/engine.ts';
import { type Site, type SiteOptions, site } from '../../support/site.ts';
import { afterwards } from '../../support/temp.ts';
import { treeDifferences } from '../../support/trees.ts';

/** A site on the first engine, and what is beside it on the second. */
export interface TwoEngines {
  at: Site;
  other: string;
  /** What differs between a volume of the first engine and one of the second. */
  differences(from: string, to?: string): Promise<string>;
  there(...args: string[]): Promise<string>;
}

export async function twoEngines(options: SiteOptions = {}): Promise<TwoEngines> {
  const at = await site(options);
  const other = engines().b;
  afterwards(() => cleanupEngine(other, at.name()));
  return {
    at,
    other,
    differences: async (from, to = from) =>
      treeDifferences(await mountpoint(at.host, from), await mountpoint(other, to)),
    there: (...args) => docker(other, ...args),
  };
}
