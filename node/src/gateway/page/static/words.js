// Numbers, times and names as people read them.

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

export function size(bytes) {
    let value = bytes ?? 0;
    let unit = 0;
    while (value >= 1024 && unit + 1 < UNITS.length) {
        value /= 1024;
        unit += 1;
    }
    return unit === 0 ? `${value} B` : `${value.toFixed(1)} ${UNITS[unit]}`;
}

export const rate = (bytes) => `${size(Math.round(bytes ?? 0))}/s`;

export const number = (value) => (value ?? 0).toLocaleString('en');

/** Returns a number with its noun, as in `1 peer` and `2 peers`. */
export const count = (value, one, many = `${one}s`) => `${number(value)} ${value === 1 ? one : many}`;

/** Returns a length of time in its two largest units. */
export function span(seconds) {
    const whole = Math.max(0, Math.round(seconds));
    if (whole < 60) {
        return `${whole} s`;
    }
    if (whole < 3600) {
        return `${Math.floor(whole / 60)} min${whole % 60 && whole < 600 ? ` ${whole % 60} s` : ''}`;
    }
    if (whole < 172800) {
        const minutes = Math.floor((whole % 3600) / 60);
        return `${Math.floor(whole / 3600)} h${minutes ? ` ${minutes} min` : ''}`;
    }
    return count(Math.floor(whole / 86400), 'day');
}

export const now = () => Date.now() / 1000;

/** Returns how long ago a time is, in seconds since 1970. */
export function ago(time) {
    if (time === null || time === undefined) {
        return 'never';
    }
    const past = now() - time;
    return past < 5 ? 'just now' : `${span(past)} ago`;
}

/** Returns a time as a date, without the reader's locale, so that it is the same in every log. */
export function date(time) {
    if (time === null || time === undefined) {
        return '';
    }
    return `${new Date(time * 1000).toISOString().slice(0, 16).replace('T', ' ')} UTC`;
}

/** Returns the start of a long id. */
export const short = (id, letters = 10) => (id && id.length > letters + 2 ? `${id.slice(0, letters)}…` : id ?? '');

/** Returns the last letters of a peer id: all peer ids begin alike. */
export const peer = (id) => (id ? `…${id.slice(-8)}` : '');

export const digest = (text) => short(text, 'sha256:'.length + 8);

/** Returns the name of a model as commands take it: with the petname where there is one. */
export function reference({ publisher, petname, model, tag, tags, manifest }) {
    const name = `${petname ?? publisher}/${model}`;
    const best = tag ?? (tags?.includes('latest') ? 'latest' : tags?.[0]);
    return best ? `${name}:${best}` : `${name}@${manifest}`;
}

/** Returns the same, short enough for a heading. */
export function title({ publisher, petname, model }) {
    return [petname ?? short(publisher), model];
}

/** Quotes a word for a shell, where it needs that. */
export const quoted = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${String(word).replaceAll("'", "'\\''")}'`);

/** Returns a percentage in whole numbers, and 100 only where all is done. */
export function percent(done, total) {
    if (!total) {
        return 0;
    }
    return done >= total ? 100 : Math.min(99, Math.floor((done * 100) / total));
}
