import { hostname } from 'node:os';
import type { NotificationConfig } from '../config/notifications.ts';
import { channelOf, wants } from '../config/notifications.ts';
import type { ConfigFile } from '../config/schema.ts';
import { messageOf } from '../core/errors.ts';
import { fillTemplate } from '../core/template.ts';
import { notify } from '../notify/notify.ts';
import type { Channel, News } from '../notify/types.ts';
import type { Log } from './log.ts';

const TITLES: Record<News['event'], string> = {
  failure: 'failed',
  recovery: 'works again',
  success: 'is done',
  silence: 'is silent',
  shrink: 'made a much smaller snapshot',
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
        const filled = fill(notification, news);
        await notify((await channelOf(notification)) as Channel, filled, signal, failed);
      } catch (error) {
        failed(messageOf(error));
      }
    }),
  );
}

/** The news in the words of a notification. */
function fill({ title, text }: NotificationConfig, news: News): News {
  const values = { ...news, at: news.at.toISOString() };
  return {
    ...news,
    // One line, whatever a template and a name of a job make of it.
    title: title === undefined ? news.title : fillTemplate(title, values).replace(/\s+/g, ' ').trim(),
    text: text === undefined ? news.text : fillTemplate(text, values),
  };
}
