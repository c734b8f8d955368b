//go:build page

package page

import _ "embed"

//go:embed built/index.html
var embedded []byte
