//go:build !page

package page

var embedded []byte
