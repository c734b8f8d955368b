// Package story tells a person what a bundle or a receipt says: one record of it
// ([Explain]), or all that happened ([Tell]), in plain words. What it says of
// whether something holds up is the audit's answer and no other; it judges nothing.
//
// What records and payloads say is hostile. It goes into a [report.Page] as it is,
// and is made visible by whoever writes that out.
package story
