/**
 * The schemes of redirect URIs (DOC-12, RED-05). A browser opens an OAuth error's redirect URI without a click, so a
 * stranger's scheme must not start anything that is already on the user's machine. Schemes are an open set: those listed
 * here are refused, reverse domain names and known apps are matched, and every other one is matched only if the host opens
 * it.
 */

const words = (text: string): ReadonlySet<string> => new Set(text.trim().split(/\s+/))

/** Permanent in IANA's registry of URI schemes (all but `http` and `https`), or of a network protocol. */
const protocols = words(`
  aaa aaas about acap acct adiumxtra afp afs cap cid cifs coap coap+tcp coap+ws coaps coaps+tcp coaps+ws crid cvs dav
  dict dis dns dtn dvb ed2k example fax finger fish ftp ftps geo git go gopher h323 iax icap im imap imaps info ipn
  ipp ipps irc irc6 ircs iris iris.beep iris.lwz iris.xpc iris.xpcs jabber ldap ldapi ldaps magnet mailserver mailto
  mid mms mmsh msrp msrps mt mtqp mumble mupdate mvn news nfs ni nih nntp opaquelocktoken pkcs11 pop pops pres rdp
  redis rediss reload rlogin rmi rsync rtmp rtmps rtsp rtsps rtspu scp secondlife service session sftp shttp sieve sip
  sips smb sms smsto smtp snmp soap.beep soap.beeps ssh stun stuns svn tag teamspeak tel telnet tftp thismessage tip
  tn3270 turn turns tv udp unreal urn vemmi ventrilo videotex vnc wais webcal ws wss xcon xcon-userid xmlrpc.beep
  xmlrpc.beeps xmpp z39.50 z39.50r z39.50s
`)

/** Read by browsers and scripts. */
const browsers = words(`
  android-app blob brave browser-internal chrome chrome-devtools chrome-error chrome-extension chrome-native
  chrome-search chrome-untrusted content data devtools edge extension file filesystem intent ios-app isolated-app jar
  javascript livescript mocha moz-extension moz-icon opera page-icon resource safari-extension safari-web-extension
  vbscript view-source vivaldi wyciwyg
`)

/** Opened by an operating system, a store, a player or a wallet. */
const handlers = words(`
  app-settings apt bitcoin calculator callto ethereum facetime facetime-audio facetime-group feed feeds file-explorer
  hcp help itms itms-apps itms-appss itms-services itmss itpc kindle macappstore macappstores maps market message
  microsoft-edge mk monero num olsc onenote ot outlook phone photos-redirect podcast prefs res rundll search search-ms
  settings shell shortcuts skype snssdk steam vsls webcals webkit-fake-url wps x-help-action x-help-script x-man-page
  x-msg x-web-search yelp zoommtg
`)

/** Families of handlers. `web+` and `ext+` are what web pages and extensions register (HTML, section 8.9.1.5). */
const families = /^(?:ext\+|ms-|tel-|teams-|web\+|x-apple[.-]|x-ms-)|-ms$/

/** Whether no client may have redirect URIs of the scheme (in lower case). */
export const isRefused = (scheme: string): boolean =>
  protocols.has(scheme) || browsers.has(scheme) || handlers.has(scheme) || families.test(scheme)

/** Schemes without a period that published apps redirect to. Nobody else should claim them, but any app can. */
const knownApps = words(`
  antigravity catbird claude cline code-oss continue cursor devin goose grokbot jetbrains kiro lmstudio mcpjam
  obsidian positron postman raycast roo trae vscode vscode-insiders vscodium warp windsurf windsurf-next zed
`)

/** Whether redirect URIs of a private-use scheme (in lower case) may be matched (RFC 8252, section 8.4; RED-05). */
export const isMatchable = (scheme: string, opened: ReadonlyArray<string> = []): boolean =>
  !isRefused(scheme) && (reverseDomain.test(scheme) || knownApps.has(scheme) || opened.includes(scheme))

const reverseDomain = /^[a-z0-9+-]+(?:\.[a-z0-9+-]+)+$/
