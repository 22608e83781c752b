// Package enroll is how nodes get what they need to join an overlay: the configuration document (RFC 6940 §11.2) and
// certificates (§11.3, §4.6). It has both halves. Server serves the document and certifies the keys of accounts, which
// Accounts keeps in files; Client fetches the document and enrolls; a Certifier gets a gateway the certificates of its users
// when they are needed, and a Renewer keeps one certificate fresh.
//
// An account is not a user: it is who asks (the form field "username"), and the user name that it asks for stands in the
// certificate signing request. A gateway has one account, and its policy says for which users it may act. Every certificate
// of an account carries the account's own Node-ID, so that two gateways never get the same one for the same user.
//
// The commands enroll and join call it. It logs nothing: a Server tells an observer what it did. Server, Accounts and
// Certifier are safe for concurrent use; a Client is too, as long as its fields stay as they are.
package enroll
