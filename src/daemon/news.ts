import { hostname } from 'node:os';
import { channelOf, wants } from '../config/notifications.ts';
import type { ConfigFile } from '../config/schema.ts';
import { messageOf } from '../core/errors.ts';
import { notify } from '../notify/notify.ts';
import type { Channel, News } from '../notify/types.ts';
import type { Log } from './log.ts';

const TITLES: Record<News['event'], string> = {
  failure: 'failed',
  recovery: 'works again',
  success: 'is done',
  labels: 'has labels that are wrong',
};

/** Tells those who want to know what became of a job. Never raises, and no job waits for it. */
export async function tellNews(
  config: ConfigFile,
  about: Pick<News, 'event' | 'job' | 'text' | 'at'>,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  const machine = hostname();
  const news: News = {
    ...about,
    machine,
    title: `volbak on ${machine}: ${about.job} ${TITLES[about.event]}`,
  };
  const told = Object.entries(config.notifications).filter(([, notification]) =>
    wants(notification, about.event, about.job),
  );
  await Promise.all(
    told.map(async ([name, notification]) => {
      const failed = (message: string) =>
        log.error(`notification ${name} about ${about.job} did not get through: ${message}`, {
          job: about.job,
        });
      try {
        await notify((await channelOf(notification)) as Channel, news, signal, failed);
      } catch (error) {
        failed(messageOf(error));
      }
    }),
  );
}
