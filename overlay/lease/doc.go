// Package lease is how several nodes agree which one of them uses something that only one may use at a time, such as an account
// at a telephone company. A lease is a record that ends by itself; whoever may write it takes it by compare-and-set, renews it
// while it lives, and gives it back.
//
// The place of the record has a generation counter that grows with each change (RFC 6940 §7.4.1.1), refuses a write whose
// counter is not the current one, and forgets a record whose lifetime is over. What it can not refuse by a counter is the first
// write to an empty place: that one asks to replace nothing (Create).
//
// A Lease is a value: the time is an argument, what is to be done comes out as an Op. It is not safe for concurrent use.
package lease
