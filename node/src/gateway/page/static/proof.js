// Draws the chain of proof of a model, step by step, from the publisher's first key document to a piece.

import { h } from './dom.js';
import { id, sum } from './parts.js';
import { ago, count, date, number } from './words.js';

const MARKS = { good: ['✓', 'proven'], warn: ['!', 'take note'], bad: ['✕', 'refused'], open: ['○', 'not here yet'] };

function step(kind, heading, ...body) {
    const [mark, words] = MARKS[kind];
    return h(
        'li',
        { class: `step ${kind}` },
        h('span', { class: 'mark', 'aria-hidden': 'true' }, mark),
        h('div', null, h('h3', null, heading, h('span', { class: 'unseen' }, ` (${words})`)), body),
    );
}

const line = (...text) => h('p', null, text);

/** `about` is what the node knows of a model; `publisher` is what it remembers of the publisher's keys, if anything. */
export function proof(about, publisher) {
    const { summary, behind, attestations, files } = about;
    const revoked = publisher?.revocations?.length ?? 0;
    const keys = publisher?.keys ?? [];
    const named = summary.petname
        ? ['You call it ', h('strong', null, summary.petname), '.']
        : ['You have not named it: its id alone tells it from other publishers.'];
    const steps = [
        step(
            summary.petname ? 'good' : 'warn',
            'Publisher',
            line('The id is the hash of its first key document: ', id(summary.publisher, 20)),
            line(named),
        ),
        step(
            'good',
            `Key document, version ${about.key_document_version}`,
            line(
                'Every later document is signed by the one before. ',
                publisher?.threshold
                    ? `${count(publisher.threshold, 'key')} of ${number(keys.length)} must sign${keys.length ? ':' : '.'}`
                    : '',
            ),
            keys.map((key) => line(id(key, 24))),
            revoked ? line(`The publisher has made ${count(revoked, 'revocation')}.`) : null,
        ),
    ];
    if (about.seq !== null && about.seq !== undefined) {
        const until = about.expires ?? about.fresh_until;
        steps.push(
            step(
                behind ? 'warn' : 'good',
                `Tag record, number ${about.seq}`,
                line(`Signed ${date(about.issued)}, ${ago(about.issued)}; it says which manifest the tag means, and names the record before.`),
                until ? line(`${about.expires ? 'Refused after' : 'Counts as fresh until'} ${date(until)}.`) : null,
                behind ? line(`Number ${behind.head} is newer: ${behind.why}.`) : null,
            ),
        );
    }
    steps.push(
        step('good', 'Provenance', line('The publisher signed that this manifest is this model, with the piece states of its large files.'),
            attestations?.length ? line(`${count(attestations.length, 'attestation')} by others verified too.`) : null),
        step('good', 'Manifest', line('Lists every file by size and SHA-256: ', sum(summary.manifest)), line(count(summary.files, 'file'))),
    );
    const here = files ? files.filter((it) => it.here).length : null;
    const all = files && here === files.length;
    steps.push(
        step(
            summary.here || all ? 'good' : 'open',
            'Piece states, and pieces',
            line('SHA-256 is a chain. Its value after each MiB is signed, so each piece was verified alone, before it was written.'),
            files ? line(`${number(here)} of ${count(files.length, 'file')} are here, whole and verified.`) : null,
        ),
    );
    return h('ol', { class: 'proof' }, steps);
}
