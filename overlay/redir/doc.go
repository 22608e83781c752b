// Package redir is service discovery by RFC 7374, ReDiR, as values: the tree of a service, the walk of a provider that
// registers in it, and that of a node which looks for the provider nearest to a key. What is to be fetched and stored comes
// out as places of the tree, what was found goes in; package overlay asks the overlay. Package store uses a Tree to check
// what providers store.
package redir
